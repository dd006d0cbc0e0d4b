import type { Clock, Random } from '../kernel/clock.ts';
import { WriteBehind } from '../kernel/write-behind.ts';
import type { BrokerEvent } from './events.ts';
import type { StoredApp } from './ports.ts';

/** What a writer of records needs of the world. */
export interface RecordWriterDeps<Stored> {
  readonly clock: Clock;
  readonly random: Random;
  readonly store: { save(record: Stored): Promise<void> };
  readonly observe: (event: BrokerEvent) => void;
}

/** Writes one record of an app to the store: the newest record wins, and a write that fails is repeated until it succeeds. */
export class RecordWriter<Stored = StoredApp> {
  readonly #writes: WriteBehind;
  #newest: Stored | undefined;
  #onHealth: () => void = () => undefined;

  constructor({ clock, random, store, observe }: RecordWriterDeps<Stored>, appId: string) {
    this.#writes = new WriteBehind({
      clock,
      random,
      write: async () => {
        while (this.#newest) {
          const record = this.#newest;
          await store.save(record);
          if (this.#newest === record) this.#newest = undefined;
        }
      },
      onSuccess: (failures) => {
        if (failures === 0) return;
        observe({ type: 'store_recovered', appId });
        this.#onHealth();
      },
      onFailure: (error, failures, retryInMs) => {
        observe({ type: 'store_failed', appId, error, retryInMs });
        if (failures === 1) this.#onHealth();
      },
    });
  }

  /** Whether the newest record is in memory only, because the store refuses it. */
  get failing(): boolean {
    return this.#writes.failing;
  }

  /**
   * Gives the record to a keeper, whose own `save` this returns; one that had it before saves no more. `save` resolves when
   * the record, or a newer one, is durable, or when a write of it has failed and will be repeated. `onHealth` is called
   * when `failing` has changed.
   */
  adopt(onHealth: () => void): (record: Stored) => Promise<void> {
    this.#onHealth = onHealth;
    return async (record) => {
      if (this.#onHealth !== onHealth) return;
      this.#newest = record;
      await this.#writes.flush();
    };
  }

  /** Tries once more to write what is not durable yet, then stops repeating. */
  stop(): Promise<void> {
    return this.#writes.stop();
  }
}
