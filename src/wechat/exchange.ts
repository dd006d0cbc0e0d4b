import type { Dispatcher } from 'undici';
import { errors } from 'undici';
import type { CallEffect } from '../core/kernel/errors.ts';
import { UpstreamError } from '../core/kernel/errors.ts';

/** WeChat documents answers of about one KiB. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** A whole HTTP answer. */
export interface Answer {
  readonly status: number;
  /** At most 64 KiB of bytes, decoded as UTF-8. */
  readonly body: string;
}

/** How far a request has come: waiting for a connection, handed to one, or being answered. */
type Phase = 'queued' | 'sent' | 'answered';

const IN_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ENOTFOUND: 'its name does not resolve',
  EAI_AGAIN: 'its name does not resolve at the moment',
  UND_ERR_CONNECT_TIMEOUT: 'no connection came about in time',
  ECONNRESET: 'the connection was reset',
  UND_ERR_SOCKET: 'the connection was closed without an answer',
  UND_ERR_DESTROYED: 'the broker is shutting down',
};

/**
 * Sends one request and collects its answer, redirects included, to 64 KiB.
 *
 * Rejects with an UpstreamError and nothing else; at once when `signal` aborts. Its effect is `unsent` exactly when the
 * request was never handed to a connection. `place` names the other end in messages.
 */
export function exchange(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  place: string,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let phase: Phase = 'queued';
    let settled = false;
    let status = 0;
    let size = 0;
    const chunks: Buffer[] = [];

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
      const error = timeout(phase);
      fail(error);
      stop(error);
    };

    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort);

    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        // The caller left while the request waited for a connection: it must not be written after all.
        if (settled) return controller.abort(timeout(phase));
        phase = 'sent';
        stop = (reason) => controller.abort(reason);
      },
      onResponseStart(_, statusCode) {
        // After a 1xx this is called again for the answer proper.
        phase = 'answered';
        status = statusCode;
      },
      onResponseData(controller, chunk) {
        size += chunk.length;
        if (size <= MAX_ANSWER_BYTES) chunks.push(chunk);
        else controller.abort(tooLarge());
      },
      onResponseEnd() {
        if (settle()) resolve({ status, body: new TextDecoder().decode(Buffer.concat(chunks)) });
      },
      onResponseError(_, error) {
        fail(failure(error, phase, place));
      },
    };
    try {
      dispatcher.dispatch(request, handler);
    } catch (error) {
      fail(failure(error, phase, place));
    }
  });
}

/** An answer that is not what WeChat documents. `what` continues "WeChat answered ..." and quotes nothing of it. */
export function malformed(what: string): UpstreamError {
  return new UpstreamError(`WeChat answered ${what}.`, {
    reason: 'UPSTREAM_MALFORMED',
    recovery: { kind: 'backoff' },
    effect: 'unknown',
  });
}

function tooLarge(): UpstreamError {
  return malformed('more than 64 KiB');
}

function timeout(phase: Phase): UpstreamError {
  const message =
    phase === 'queued'
      ? 'No connection to WeChat came about in time.'
      : 'WeChat did not answer within upstream.timeout.';
  return new UpstreamError(message, {
    reason: 'UPSTREAM_TIMEOUT',
    recovery: { kind: 'backoff' },
    effect: effectOf(phase),
  });
}

/** Names an error of the HTTP client by its code alone: its text may quote what was sent. */
function failure(error: unknown, phase: Phase, place: string): UpstreamError {
  if (error instanceof UpstreamError) return error;
  const code = codeOf(error);
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return timeout(phase);
  if (error instanceof errors.HTTPParserError || code === 'UND_ERR_HEADERS_OVERFLOW')
    return malformed('something that is not HTTP');
  if (phase === 'answered') return malformed('in part, and then the connection was closed');
  const words = IN_WORDS[code] ?? proxyRefusal(error);
  const detail = words === undefined ? code : `${words}, ${code}`;
  return new UpstreamError(`WeChat could not be reached at ${place} (${detail}).`, {
    reason: 'UPSTREAM_UNREACHABLE',
    recovery: { kind: 'backoff' },
    effect: effectOf(phase),
  });
}

function effectOf(phase: Phase): CallEffect {
  return phase === 'queued' ? 'unsent' : 'unknown';
}

/** undici says in its error's text alone which status a proxy answered with. */
function proxyRefusal(error: unknown): string | undefined {
  const status = error instanceof Error ? /^Proxy [^(]*\((\d{3})\)/.exec(error.message)?.[1] : undefined;
  return status && `the proxy answered HTTP ${status}`;
}

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown error';
}
