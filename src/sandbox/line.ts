import type { Clock } from '../core/kernel/clock.ts';
import { type CallEffect, UpstreamError, type UpstreamReason } from '../core/kernel/errors.ts';
import type { Call } from './calls.ts';
import type { SimulatedWeChat } from './wechat.ts';

/** How a caller in the same process reaches the simulated WeChat. */
export interface Line {
  readonly wechat: SimulatedWeChat;
  /** Measures latency; it need not be WeChat's clock. */
  readonly clock: Clock;
}

/** An answer's fields; nothing is known of their types. */
export type Fields = Readonly<Record<string, unknown>>;

const sizeCap = 64 * 1024;

/** Makes a call. Resolves with the text of the answer; rejects with the UpstreamError that says why there is none. */
export async function ask({ wechat, clock }: Line, call: Call, signal: AbortSignal): Promise<string> {
  if (signal.aborted) throw timeout('unsent');
  const delivery = wechat.receive(call);
  switch (delivery.kind) {
    case 'refused':
      throw failure('WeChat refuses connections', 'UPSTREAM_UNREACHABLE', 'unsent');
    case 'reset':
      throw failure('WeChat reset the connection', 'UPSTREAM_UNREACHABLE', 'unknown');
    case 'hang':
      return await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(timeout('unknown')), { once: true });
      });
    case 'answer':
      if (delivery.afterMs > 0) await pause(clock, delivery.afterMs, signal);
      if (delivery.status !== 200) throw malformed(`has HTTP status ${delivery.status}`);
      if (Buffer.byteLength(delivery.text) > sizeCap) throw malformed('is larger than 64 KiB');
      return delivery.text;
  }
}

/** The fields of an answer, which must be a JSON object. */
export function parse(text: string): Fields {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw malformed('is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw malformed('is not a JSON object');
  return body as Fields;
}

/** An answer that is none. `what` continues "WeChat's answer ...". */
export function malformed(what: string): UpstreamError {
  return failure(`WeChat's answer ${what}`, 'UPSTREAM_MALFORMED', 'unknown');
}

function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      timer.cancel();
      reject(timeout('unknown'));
    };
    const timer = clock.schedule(ms, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

function timeout(effect: CallEffect): UpstreamError {
  return failure('WeChat did not answer in time', 'UPSTREAM_TIMEOUT', effect);
}

function failure(message: string, reason: UpstreamReason, effect: CallEffect): UpstreamError {
  return new UpstreamError(message, { reason, recovery: { kind: 'backoff' }, effect });
}
