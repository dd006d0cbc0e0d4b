import type {
  Member,
  Poll,
  Reading,
  Replaced,
  SharedStore,
  StoreListener,
  VersionedRecord,
} from '../../src/core/cluster/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';

/** The faults of one replica's way to the store. */
export interface Way {
  /** `cut`: nothing arrives. `deaf`: what is asked is done, and the answer is lost. */
  state: 'open' | 'cut' | 'deaf';
  /** Whether hints arrive. */
  hints: boolean;
}

/** A shared store in memory, which each replica reaches by a connection of its own. */
export class FakeSharedStore {
  readonly records = new Map<string, VersionedRecord>();
  readonly members = new Map<string, Member>();
  readonly #now: () => number;
  readonly #listeners = new Map<FakeConnection, StoreListener>();
  #changes = new Map<string, number>();
  #position = 0;

  /** `now` is the store's clock. */
  constructor(now: () => number) {
    this.#now = now;
  }

  connect(): FakeConnection {
    return new FakeConnection(this);
  }

  poll(self: Member, position: number): Poll {
    this.members.set(self.replica, self);
    const isWhole = position === 0 || position > this.#position;
    const changed = [...this.records.values()].filter(
      ({ app }) => isWhole || (this.#changes.get(app.appId) ?? 0) > position,
    );
    return { position: this.#position, changed, members: [...this.members.values()], time: this.#now() };
  }

  read(appIds: readonly string[]): Reading {
    return { records: appIds.flatMap((appId) => this.records.get(appId) ?? []), time: this.#now() };
  }

  replace(app: StoredApp, expected: string | null, etag: string): Replaced {
    const found = this.records.get(app.appId) ?? null;
    if ((found?.etag ?? null) !== expected) return { stored: false, found, time: this.#now() };
    this.records.set(app.appId, { app: structuredClone(app), etag });
    this.#changes.set(app.appId, ++this.#position);
    for (const [connection, listener] of this.#listeners) {
      if (connection.way.hints && connection.way.state === 'open') queueMicrotask(() => listener.changed(app.appId));
    }
    return { stored: true, time: this.#now() };
  }

  listen(connection: FakeConnection, listener: StoreListener): void {
    this.#listeners.set(connection, listener);
  }

  /** What there is now, to go back to. */
  snapshot(): ReadonlyMap<string, VersionedRecord> {
    return new Map(this.records);
  }

  /** The store comes back with these records, and everyone has to connect again. */
  restart(records: ReadonlyMap<string, VersionedRecord> = new Map()): void {
    this.records.clear();
    this.members.clear();
    this.#changes = new Map();
    this.#position = 0;
    for (const [appId, record] of records) {
      this.records.set(appId, record);
      this.#changes.set(appId, ++this.#position);
    }
    for (const listener of this.#listeners.values()) listener.reconnected();
  }

  disconnect(connection: FakeConnection): void {
    this.#listeners.delete(connection);
  }
}

/** One replica's connection. */
export class FakeConnection implements SharedStore {
  readonly #store: FakeSharedStore;
  way: Way = { state: 'open', hints: true };

  constructor(store: FakeSharedStore) {
    this.#store = store;
  }

  async poll(self: Member, position: number): Promise<Poll> {
    return this.#through(() => this.#store.poll(self, position));
  }

  async read(appIds: readonly string[]): Promise<Reading> {
    return this.#through(() => this.#store.read(appIds));
  }

  async replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced> {
    return this.#through(() => this.#store.replace(app, expected, etag));
  }

  async remove(replica: string): Promise<void> {
    this.#through(() => this.#store.members.delete(replica));
  }

  listen(listener: StoreListener): void {
    this.#store.listen(this, listener);
  }

  async close(): Promise<void> {
    this.#store.disconnect(this);
  }

  #through<T>(act: () => T): T {
    if (this.way.state === 'cut') throw new Error('the store does not answer');
    const answer = act();
    if (this.way.state === 'deaf') throw new Error('the store does not answer');
    return structuredClone(answer);
  }
}
