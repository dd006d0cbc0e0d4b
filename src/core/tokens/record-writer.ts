import type { Timer } from '../kernel/clock.ts';
import { backoffMs } from './backoff.ts';
import type { Deps, StoredApp } from './ports.ts';

/**
 * Writes one app's record to the store: one write at a time, the newest record wins, and a write that fails is repeated
 * until it succeeds.
 */
export class RecordWriter {
  readonly #deps: Deps;
  readonly #appId: string;
  #newest: StoredApp | undefined;
  #writing: Promise<void> | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  #stopped = false;
  #onHealth: () => void = () => undefined;

  constructor(deps: Deps, appId: string) {
    this.#deps = deps;
    this.#appId = appId;
  }

  /** Whether the newest record is in memory only, because the store refuses it. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  /**
   * Gives the record to a keeper, whose own `save` this returns; one that had it before saves no more. `save` resolves when
   * the record, or a newer one, is durable, or when a write of it has failed and will be repeated. `onHealth` is called
   * when `failing` has changed.
   */
  adopt(onHealth: () => void): (record: StoredApp) => Promise<void> {
    this.#onHealth = onHealth;
    return async (record) => {
      if (this.#onHealth !== onHealth) return;
      this.#newest = record;
      await this.#write();
    };
  }

  /** Tries once more to write what is not durable yet, then stops repeating. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#write();
  }

  #write(): Promise<void> {
    this.#retry?.cancel();
    if (this.#newest) this.#writing ??= this.#drain();
    return this.#writing ?? Promise.resolve();
  }

  async #drain(): Promise<void> {
    await undefined; // so that `#writing` is set before the end below clears it
    try {
      while (this.#newest) {
        const record = this.#newest;
        await this.#deps.store.save(record);
        if (this.#newest === record) this.#newest = undefined;
      }
      this.#succeeded();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#writing = undefined;
    }
  }

  #succeeded(): void {
    if (this.#failures === 0) return;
    this.#failures = 0;
    this.#deps.observe({ type: 'store_recovered', appId: this.#appId });
    this.#onHealth();
  }

  #failed(error: unknown): void {
    this.#failures++;
    const retryInMs = backoffMs(this.#failures, this.#deps.random);
    this.#deps.observe({ type: 'store_failed', appId: this.#appId, error, retryInMs });
    if (!this.#stopped) this.#retry = this.#deps.clock.schedule(retryInMs, () => void this.#write());
    if (this.#failures === 1) this.#onHealth();
  }
}
