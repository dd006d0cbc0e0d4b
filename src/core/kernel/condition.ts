import { abortable } from './abortable.ts';

/** A condition variable: those who wait are woken together, and look for themselves whether it is what they wait for. */
export class Condition {
  readonly #waiting = new Set<() => void>();

  /** Resolves when it is notified next. Rejects with the signal's reason when that aborts. */
  wait(signal?: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.add(resolve);
    return abortable(promise, signal).finally(() => this.#waiting.delete(resolve));
  }

  /** Has all who wait look again. */
  notifyAll(): void {
    for (const wake of this.#waiting) wake();
  }
}
