import type { Store, StoredApp } from '../../src/core/tokens/ports.ts';

/** A store that keeps records like a disk, outlives brokers, and fails when told to. */
export class FakeStore implements Store {
  readonly records = new Map<string, StoredApp>();
  /** Thrown by each save while set. */
  failure: Error | undefined;
  saves = 0;

  async load(): Promise<readonly StoredApp[]> {
    return [...this.records.values()];
  }

  async save(app: StoredApp): Promise<void> {
    this.saves++;
    await undefined;
    if (this.failure) throw this.failure;
    this.records.set(app.appId, structuredClone(app));
  }

  async close(): Promise<void> {}
}
