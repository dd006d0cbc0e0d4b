import type { StoredTicket, TicketKey, TicketStore } from '../../src/core/tickets/ports.ts';
import type { FakeClock } from './clock.ts';

const nameOf = ({ appId, type }: TicketKey): string => `${appId}/${type}`;

/** Tickets on a disk that outlives processes and that replicas share; it fails when told to. */
export class FakeTicketStore implements TicketStore {
  readonly records = new Map<string, StoredTicket>();
  readonly claims = new Map<string, { readonly owner: string; readonly until: number }>();
  readonly #clock: FakeClock;
  /** Thrown by each call while set. */
  failure: Error | undefined;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async load(): Promise<readonly StoredTicket[]> {
    return await this.#through(() => [...this.records.values()]);
  }

  async read(key: TicketKey): Promise<StoredTicket | undefined> {
    return await this.#through(() => this.records.get(nameOf(key)));
  }

  async save(record: StoredTicket): Promise<void> {
    await this.#through(() => this.records.set(nameOf(record), structuredClone(record)));
  }

  async claim(key: TicketKey, owner: string, ms: number): Promise<boolean> {
    return await this.#through(() => {
      const now = this.#clock.monotonic();
      const held = this.claims.get(nameOf(key));
      if (held && held.until > now) return false;
      this.claims.set(nameOf(key), { owner, until: now + ms });
      return true;
    });
  }

  async release(key: TicketKey, owner: string): Promise<void> {
    await this.#through(() => {
      if (this.claims.get(nameOf(key))?.owner === owner) this.claims.delete(nameOf(key));
    });
  }

  async #through<T>(act: () => T): Promise<T> {
    await undefined;
    if (this.failure) throw this.failure;
    return act();
  }
}
