import type { RefreshCause } from '../tokens/events.ts';
import type { Clock } from './clock.ts';

/** How a flight that did not fail ended. */
export type RefreshResult =
  /** There is a new generation. */
  | 'rotated'
  /** Another replica has brought a new generation. */
  | 'superseded'
  /** WeChat answered with the token that is held. */
  | 'unchanged'
  /** WeChat was asked about the token and accepts it. */
  | 'accepted'
  /** WeChat could not be asked about the token. */
  | 'unknown';

/** One refresh in progress, shared by all who want its result. */
export interface Refresh {
  readonly cause: RefreshCause;
  /** Settles when the flight's result has been published. A failed flight rejects for all who joined. */
  readonly completion: Promise<RefreshResult>;
  /** Ends the flight; those who joined get `reason`. */
  abort(reason: Error): void;
}

/** Waits for what others wait for too. When `signal` aborts, this caller alone leaves, with the signal's reason. */
export function join<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return shared;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/** Runs one call under a deadline of its own, and under the flight's signal. */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  refresh: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(refresh.reason);
  const timer = clock.schedule(timeoutMs, () => controller.abort(new Error('deadline exceeded')));
  refresh.addEventListener('abort', abort, { once: true });
  if (refresh.aborted) abort();
  try {
    return await call(controller.signal);
  } finally {
    timer.cancel();
    refresh.removeEventListener('abort', abort);
  }
}
