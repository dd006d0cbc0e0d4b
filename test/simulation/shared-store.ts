import type { Member, Poll, Reading, Replaced } from '../../src/core/cluster/ports.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { type Content, MemoryStore } from '../support/memory-store.ts';
import type { Scheduler } from './scheduler.ts';

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
  readonly #store = new MemoryStore(() => this.time);
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
    return this.#store.records.get(appId)?.app;
  }

  /** Every connection breaks, and none comes about until it is started again. */
  stop(): void {
    this.up = false;
    this.run++;
  }

  /** Starts again with what it held `backMs` ago (Infinity: with nothing). */
  start(backMs: number): void {
    const before = this.#store.records;
    if (backMs === Infinity) this.#store.restore();
    else if (backMs > 0) {
      const content = this.#past.find(({ until }) => until > this.#scheduler.now - backMs)?.content;
      if (content) this.#store.restore(content);
    }
    this.#past = [];
    this.up = true;
    const after = this.#store.records;
    for (const appId of new Set([...before.keys(), ...after.keys()])) {
      const [was, is] = [before.get(appId), after.get(appId)];
      if (was !== is) this.#onChange({ appId, before: was?.app ?? null, app: is?.app ?? null, by: null });
    }
  }

  poll(self: Member, position: number): Poll {
    return this.#store.poll(self, position);
  }

  read(appIds: readonly string[]): Reading {
    return this.#store.read(appIds);
  }

  replace(app: StoredApp, expected: string | null, etag: string, by: string): Replaced {
    const content = this.#store.snapshot();
    const replaced = this.#store.replace(app, expected, etag);
    if (!replaced.stored) return replaced;
    this.#remember(content);
    this.#onChange({ appId: app.appId, before: content.records.get(app.appId)?.app ?? null, app, by });
    return replaced;
  }

  remove(replica: string): void {
    this.#store.remove(replica);
  }

  #remember(content: Content): void {
    const { now } = this.#scheduler;
    this.#past.push({ until: now, content });
    if ((this.#past[0]?.until ?? now) < now - 2 * REMEMBERED_MS) {
      this.#past = this.#past.filter(({ until }) => until >= now - REMEMBERED_MS);
    }
  }
}
