import { etagAfter } from '../../src/core/cluster/etag.ts';
import type {
  Member,
  Poll,
  Reading,
  Replaced,
  SealedRecord,
  SharedStore,
  StoreListener,
  VersionedRecord,
} from '../../src/core/cluster/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { type Content, MemoryStore } from './memory-store.ts';

/** The faults of one replica's way to the store. */
export interface Way {
  /** `cut`: nothing arrives. `deaf`: what is asked is done, and the answer is lost. */
  state: 'open' | 'cut' | 'deaf';
  /** Whether hints arrive. */
  hints: boolean;
}

/** A shared store in memory, which each replica reaches by a connection of its own. */
export class FakeSharedStore extends MemoryStore {
  /** By app, the key that its record is sealed by. */
  readonly sealedBy = new Map<string, string>();
  readonly #listeners = new Map<FakeConnection, StoreListener>();

  connect(): FakeConnection {
    return new FakeConnection(this);
  }

  override replace(app: StoredApp, expected: string | null, etag: string): Replaced {
    const replaced = super.replace(app, expected, etag);
    if (!replaced.stored) return replaced;
    for (const [connection, listener] of this.#listeners) {
      if (connection.way.hints && connection.way.state === 'open') queueMicrotask(() => listener.changed(app.appId));
    }
    return replaced;
  }

  /** Seals a record by another key: it says the same under another etag, and nobody is given a hint. */
  reseal(appId: string, key: string): void {
    const found = this.records.get(appId);
    if (!found) throw new Error(`no record of ${appId}`);
    super.replace(found.app, found.etag, etagAfter(found.etag, `resealed by ${key}`));
    this.sealedBy.set(appId, key);
  }

  listen(connection: FakeConnection, listener: StoreListener): void {
    this.#listeners.set(connection, listener);
  }

  /** The store comes back with what it held once, or with nothing, and everyone has to connect again. */
  restart(content?: Content): void {
    this.restore(content);
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
  /** The keys that this replica holds; the first seals. */
  keys: readonly string[] = ['plain'];

  constructor(store: FakeSharedStore) {
    this.#store = store;
  }

  async poll(self: Member, position: number): Promise<Poll> {
    return this.#through(() => {
      const { changed, ...poll } = this.#store.poll(self, position);
      const { records, sealed } = this.#opened(changed);
      const [first] = sealed;
      return { ...poll, changed: records, ...(first && { sealed: { records: sealed, error: first.error } }) };
    });
  }

  async read(appIds: readonly string[]): Promise<Reading> {
    return this.#through(() => {
      const { records, ...reading } = this.#store.read(appIds);
      return { ...reading, ...this.#opened(records) };
    });
  }

  async replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced> {
    return this.#through(() => {
      const replaced = this.#store.replace(app, expected, etag);
      if (replaced.stored) this.#store.sealedBy.set(app.appId, this.keys[0] as string);
      if (replaced.stored || !replaced.found) return replaced;
      const [sealed] = this.#opened([replaced.found]).sealed;
      return sealed ? { ...replaced, found: null, sealed } : replaced;
    });
  }

  #opened(all: readonly VersionedRecord[]): { records: VersionedRecord[]; sealed: SealedRecord[] } {
    const records: VersionedRecord[] = [];
    const sealed: SealedRecord[] = [];
    for (const { app, etag } of all) {
      const key = this.#store.sealedBy.get(app.appId) ?? 'plain';
      if (this.keys.includes(key)) records.push({ app, etag });
      else sealed.push({ appId: app.appId, etag, error: new Error(`${app.appId} is sealed by ${key}`) });
    }
    return { records, sealed };
  }

  async remove(replica: string): Promise<void> {
    this.#through(() => this.#store.remove(replica));
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
