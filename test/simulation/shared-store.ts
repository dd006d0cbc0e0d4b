import type { Member, Poll, Reading, Replaced, VersionedRecord } from '../../src/core/cluster/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import type { Scheduler } from './scheduler.ts';

interface Kept extends VersionedRecord {
  readonly position: number;
}

/** All that the store held at one time. */
interface Content {
  readonly position: number;
  readonly records: ReadonlyMap<string, Kept>;
  readonly members: ReadonlyMap<string, Member>;
}

/** How far back a rollback can reach. */
const REMEMBERED_MS = 3_600_000;

/** A record that is in the store from now on, or (`app` null) no longer is. `by` null: the store came back with it. */
export interface Change {
  readonly appId: string;
  readonly before: StoredApp | null;
  readonly app: StoredApp | null;
  readonly by: string | null;
}

/** The one store that all replicas share: it does each command at the moment at which the command arrives, or is down. */
export class StoreServer {
  readonly #scheduler: Scheduler;
  readonly #epochTime: number;
  readonly #onChange: (change: Change) => void;
  #clockOffset = 0;
  #position = 0;
  #records: ReadonlyMap<string, Kept> = new Map();
  #members = new Map<string, Member>();
  /** What it held until each change of a record, newest last. */
  #past: { readonly until: number; readonly content: Content }[] = [];
  /** Connections made before it last went down are lost. */
  run = 0;
  up = true;

  /** `epochTime` is the wall time of the beginning, in milliseconds since 1970. */
  constructor(options: { scheduler: Scheduler; epochTime: number; onChange: (change: Change) => void }) {
    this.#scheduler = options.scheduler;
    this.#epochTime = options.epochTime;
    this.#onChange = options.onChange;
  }

  /** Its clock: milliseconds since 1970. */
  get time(): number {
    return this.#epochTime + this.#scheduler.now + this.#clockOffset;
  }

  /** The moment of the simulation at which its clock shows this time, as it is set now. */
  momentOf(time: number): number {
    return time - this.#epochTime - this.#clockOffset;
  }

  setClock(byMs: number): void {
    this.#clockOffset += byMs;
  }

  record(appId: string): StoredApp | undefined {
    return this.#records.get(appId)?.app;
  }

  /** Every connection breaks, and none comes about until it is started again. */
  stop(): void {
    this.up = false;
    this.run++;
  }

  /** Starts again with what it held `backMs` ago (Infinity: with nothing). */
  start(backMs: number): void {
    const before = this.#records;
    if (backMs === Infinity) {
      this.#position = 0;
      this.#records = new Map();
      this.#members = new Map();
    } else if (backMs > 0) {
      const content = this.#past.find(({ until }) => until > this.#scheduler.now - backMs)?.content;
      if (content) {
        this.#position = content.position;
        this.#records = content.records;
        this.#members = new Map(content.members);
      }
    }
    this.#past = [];
    this.up = true;
    for (const appId of new Set([...before.keys(), ...this.#records.keys()])) {
      const [was, is] = [before.get(appId), this.#records.get(appId)];
      if (was !== is) this.#onChange({ appId, before: was?.app ?? null, app: is?.app ?? null, by: null });
    }
  }

  poll(self: Member, position: number): Poll {
    this.#members.set(self.replica, self);
    const all = position <= 0 || position > this.#position;
    const changed: VersionedRecord[] = [];
    for (const kept of this.#records.values()) if (all || kept.position > position) changed.push(recordOf(kept));
    return { position: this.#position, changed, members: [...this.#members.values()], time: this.time };
  }

  read(appIds: readonly string[]): Reading {
    const kept = appIds.flatMap((appId) => this.#records.get(appId) ?? []);
    return { records: kept.map(recordOf), time: this.time };
  }

  replace(app: StoredApp, expected: string | null, etag: string, by: string): Replaced {
    const { appId } = app;
    const found = this.#records.get(appId);
    if ((found?.etag ?? null) !== expected) {
      return { stored: false, found: found ? recordOf(found) : null, time: this.time };
    }
    this.#remember();
    this.#position++;
    this.#records = new Map(this.#records).set(appId, {
      app: structuredClone(app),
      etag,
      position: this.#position,
    });
    this.#onChange({ appId, before: found?.app ?? null, app, by });
    return { stored: true, time: this.time };
  }

  remove(replica: string): void {
    this.#members.delete(replica);
  }

  #remember(): void {
    const { now } = this.#scheduler;
    const content = { position: this.#position, records: this.#records, members: new Map(this.#members) };
    this.#past.push({ until: now, content });
    if ((this.#past[0]?.until ?? now) < now - 2 * REMEMBERED_MS) {
      this.#past = this.#past.filter(({ until }) => until >= now - REMEMBERED_MS);
    }
  }
}

function recordOf({ app, etag }: Kept): VersionedRecord {
  return { app, etag };
}
