import type { Member, Poll, Reading, Replaced, SharedStore, StoreListener } from '../../src/core/cluster/ports.ts';
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
