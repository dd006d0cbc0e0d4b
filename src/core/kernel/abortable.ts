import type { Clock } from './clock.ts';

/**
 * Waits for what others may wait for too. When `signal` aborts, this caller alone leaves, with the signal's reason. `leave`
 * is called at that moment; where it returns false, what was waited for has just come, and the caller gets it.
 */
export function abortable<T>(
  shared: Promise<T>,
  signal: AbortSignal | undefined,
  leave: () => boolean = () => true,
): Promise<T> {
  if (!signal) return shared;
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      if (leave()) reject(signal.reason);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** A signal that lasts until it is disposed of. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
}

/** A signal that aborts with `parent`, or after `timeoutMs` with `reason()`. Dispose of it when the call has ended. */
export function deadline(clock: Clock, timeoutMs: number, parent: AbortSignal, reason: () => unknown): Deadline {
  const controller = new AbortController();
  const abort = () => controller.abort(parent.reason);
  const timer = clock.schedule(timeoutMs, () => controller.abort(reason()));
  parent.addEventListener('abort', abort, { once: true });
  if (parent.aborted) abort();
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      timer.cancel();
      parent.removeEventListener('abort', abort);
    },
  };
}

/** Runs one call under a deadline of its own, and under `parent`. */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  parent: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using limit = deadline(clock, timeoutMs, parent, () => new Error('deadline exceeded'));
  return await call(limit.signal);
}
