import type { Member, Poll, Reading, Replaced, VersionedRecord } from '../../src/core/cluster/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';

interface Kept extends VersionedRecord {
  readonly position: number;
}

/** All that a store held at one time. */
export interface Content {
  readonly position: number;
  readonly records: ReadonlyMap<string, Kept>;
  readonly members: ReadonlyMap<string, Member>;
}

const NOTHING: Content = { position: 0, records: new Map(), members: new Map() };

/** What a shared store keeps, in memory: it does each command at once. Who reaches it, and how, is not its affair. */
export class MemoryStore {
  readonly #now: () => number;
  #position = 0;
  #records: ReadonlyMap<string, Kept> = NOTHING.records;
  #members = new Map<string, Member>();

  /** `now` is the store's clock, in milliseconds since 1970. */
  constructor(now: () => number) {
    this.#now = now;
  }

  get records(): ReadonlyMap<string, VersionedRecord> {
    return this.#records;
  }

  get members(): ReadonlyMap<string, Member> {
    return this.#members;
  }

  poll(self: Member, position: number): Poll {
    this.#members.set(self.replica, self);
    const isWhole = position <= 0 || position > this.#position;
    const changed: VersionedRecord[] = [];
    for (const kept of this.#records.values()) if (isWhole || kept.position > position) changed.push(recordOf(kept));
    return { position: this.#position, changed, members: [...this.#members.values()], time: this.#now() };
  }

  read(appIds: readonly string[]): Reading {
    const kept = appIds.flatMap((appId) => this.#records.get(appId) ?? []);
    return { records: kept.map(recordOf), time: this.#now() };
  }

  replace(app: StoredApp, expected: string | null, etag: string): Replaced {
    const found = this.#records.get(app.appId);
    const time = this.#now();
    if ((found?.etag ?? null) !== expected) return { stored: false, found: found ? recordOf(found) : null, time };
    const kept = { app: structuredClone(app), etag, position: ++this.#position };
    this.#records = new Map(this.#records).set(app.appId, kept);
    return { stored: true, time };
  }

  remove(replica: string): void {
    this.#members.delete(replica);
  }

  /** What there is now, to go back to. */
  snapshot(): Content {
    return { position: this.#position, records: this.#records, members: new Map(this.#members) };
  }

  /** Goes back to what there was once, or to nothing. */
  restore({ position, records, members }: Content = NOTHING): void {
    this.#position = position;
    this.#records = records;
    this.#members = new Map(members);
  }
}

function recordOf({ app, etag }: Kept): VersionedRecord {
  return { app, etag };
}
