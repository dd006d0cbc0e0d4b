import { backoffMs } from './backoff.ts';
import type { Clock, Random, Timer } from './clock.ts';

/** What is written behind, and who is told of it. */
export interface WriteBehindOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves when all that there is to write, at this moment, is durable. */
  readonly write: () => Promise<void>;
  /** An attempt failed, the `failures`-th in a row; `retryInMs` null: it was the last. */
  readonly onFailure: (error: unknown, failures: number, retryInMs: number | null) => void;
  /** An attempt succeeded; `failures`: so many before it had not. */
  readonly onSuccess: (failures: number) => void;
}

/** Writes what is in memory, one attempt at a time, and repeats an attempt that fails until one succeeds. */
export class WriteBehind {
  readonly #options: WriteBehindOptions;
  #attempt: Promise<void> | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  #isStopped = false;

  constructor(options: WriteBehindOptions) {
    this.#options = options;
  }

  /** Whether the last attempt failed: something is in memory only. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /** Writes now. Resolves when the attempt, or the one in progress, has ended, well or not. Never rejects. */
  flush(): Promise<void> {
    this.#retry?.cancel();
    this.#attempt ??= this.#try();
    return this.#attempt;
  }

  /** Tries once more what could not be written, then leaves it. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#attempt;
    if (this.failing) await this.flush();
  }

  async #try(): Promise<void> {
    const { clock, random, write, onFailure, onSuccess } = this.#options;
    await undefined; // so that `#attempt` is set before the end below clears it
    try {
      await write();
      const failures = this.#failures;
      this.#failures = 0;
      onSuccess(failures);
    } catch (error) {
      this.#failures++;
      const retryInMs = this.#isStopped ? null : backoffMs(this.#failures, random);
      if (retryInMs !== null) this.#retry = clock.schedule(retryInMs, () => void this.flush());
      onFailure(error, this.#failures, retryInMs);
    } finally {
      this.#attempt = undefined;
    }
  }
}
