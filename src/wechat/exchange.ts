import type { Dispatcher } from 'undici';
import type { CallEffect } from '../core/kernel/errors.ts';
import { UpstreamError } from '../core/kernel/errors.ts';
import { Collected } from './collected.ts';
import type { ConnectionPool } from './connection-pool.ts';
import { inflate } from './inflate.ts';
import { malformed, tooLarge } from './malformed.ts';
import { codeOf, isNotHttp, noConnection, type Place, proxyRefusal, unreachable } from './unreachable.ts';

/** A whole HTTP answer. */
export interface Answer {
  readonly status: number;
  /** At most 64 KiB of bytes, inflated where they were compressed and decoded as UTF-8. */
  readonly body: string;
  /** Where a redirect leads, as the header says it; empty: it says nothing. */
  readonly location: string;
}

/** How far a request has come: waiting for a connection, handed to one, or being answered. */
type Phase = 'queued' | 'sent' | 'answered';

/**
 * Sends one request and collects its answer, redirects included, to 64 KiB. Where the connection was closed before any
 * byte of the request was taken it is sent once more, on another one.
 *
 * Rejects with an UpstreamError and nothing else; at once when `signal` aborts. Its effect is `unsent` exactly when no
 * connection has taken a byte of the request, or the proxy refused it. `place` names the other end in messages.
 */
export function exchange(
  connections: Pick<ConnectionPool, 'dispatch'>,
  request: Dispatcher.DispatchOptions,
  place: Place,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let phase: Phase = 'queued';
    let settled = false;
    let again = true;
    let status = 0;
    let encoding = '';
    let location = '';
    const body = new Collected();

    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      signal.removeEventListener('abort', onAbort);
      return true;
    };
    const fail = (error: UpstreamError): void => {
      if (settle()) reject(error);
    };
    let stop = (_: Error): void => {};
    const onAbort = (): void => {
      const error = timeout(phase, place);
      fail(error);
      stop(error);
    };

    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort);

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        // The caller left while the request waited for a connection: it must not be written after all.
        if (settled) return controller.abort(timeout(phase, place));
        phase = 'sent';
        stop = (reason) => controller.abort(reason);
      },
      onResponseStart(_, statusCode, headers) {
        // After a 1xx this is called again for the answer proper.
        phase = 'answered';
        status = statusCode;
        encoding = String(headers['content-encoding'] ?? '');
        location = String(headers['location'] ?? '');
      },
      onResponseData(controller, chunk) {
        if (!body.add(chunk)) controller.abort(tooLarge());
      },
      onResponseEnd() {
        if (settled) return;
        try {
          const text = new TextDecoder().decode(inflate(body.bytes, encoding));
          if (settle()) resolve({ status, body: text, location });
        } catch (error) {
          fail(failure(error, phase, place));
        }
      },
      onResponseError(_, error) {
        if (settled) return;
        if (phase === 'sent' && isWriteRefused(error, request)) phase = 'queued';
        if (phase !== 'queued' || !isClosed(error) || !again) return fail(failure(error, phase, place));
        again = false;
        dispatch();
      },
    };
    const dispatch = (): void => {
      try {
        connections.dispatch(request, handler);
      } catch (error) {
        fail(failure(error, phase, place));
      }
    };
    dispatch();
  });
}

/**
 * What is smaller is handed to the system in one piece, and taken whole or not at all: a fresh connection's buffer is larger,
 * and one that waits for its next request is empty.
 */
const ONE_PIECE_BYTES = 8 * 1024;
/** What undici writes beside path, headers and body. */
const HEAD_BYTES = 1024;

/** Whether the system refused to take the request for a connection that was closed already: nothing of it has left. */
function isWriteRefused(error: Error, { path, body }: Dispatcher.DispatchOptions): boolean {
  const size = HEAD_BYTES + path.length + (typeof body === 'string' ? Buffer.byteLength(body) : 0);
  return isClosed(error) && 'syscall' in error && error.syscall === 'write' && size <= ONE_PIECE_BYTES;
}

/** Whether it says that the other end has closed the connection. */
function isClosed(error: Error): boolean {
  return ['ECONNRESET', 'EPIPE'].includes(codeOf(error));
}

function timeout(phase: Phase, place: Place): UpstreamError {
  const message = phase === 'queued' ? noConnection(place) : 'WeChat did not answer within upstream.timeout.';
  return new UpstreamError(message, {
    reason: 'UPSTREAM_TIMEOUT',
    recovery: { kind: 'backoff' },
    effect: effectOf(phase),
  });
}

function failure(error: unknown, phase: Phase, place: Place): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const code = codeOf(error);
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return timeout(phase, place);
  // Before there is a connection it is the proxy that answers.
  if (isNotHttp(error) && phase !== 'queued') return malformed('something that is not HTTP');
  if (phase === 'answered') return malformed('in part, and then the connection was closed');
  return new UpstreamError(unreachable(error, place), {
    reason: 'UPSTREAM_UNREACHABLE',
    recovery: { kind: 'backoff' },
    // What a proxy refuses it has passed on to nobody.
    effect: proxyRefusal(error) ? 'unsent' : effectOf(phase),
  });
}

function effectOf(phase: Phase): CallEffect {
  return phase === 'queued' ? 'unsent' : 'unknown';
}
