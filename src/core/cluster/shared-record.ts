import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, emptyRecord, fromStored, toStored } from '../tokens/app-record.ts';
import type { Change } from '../tokens/coordinator.ts';
import type { Settings, StoredApp } from '../tokens/ports.ts';
import { dueAt } from '../tokens/schedule.ts';
import { isBehind, minters, restored } from './convergence.ts';
import type { Replaced, SharedStore, VersionedRecord } from './ports.ts';

/** The store did not answer, or not in time. */
export class StoreAwayError extends Error {
  override readonly name = 'StoreAwayError';
}

/** What a register needs of its cluster. */
export interface SharedRecordDeps {
  /** As the store has them. */
  readonly read: SharedStore['read'];
  readonly replace: SharedStore['replace'];
  readonly replica: string;
  readonly settings: Settings;
  readonly timeline: Timeline;
  readonly random: () => number;
  /** A name that this process has given to nothing else. */
  readonly newId: () => string;
  /** A compare-and-set was lost to another replica. */
  readonly onLost: () => void;
  /** A replica has shown that it lives. */
  readonly onSign: (replica: string) => void;
  /** The store failed. */
  readonly onFailure: (error: unknown) => void;
}

/** Who uses a register: is told of each new content, and when `failing` has changed. */
export interface SharedRecordUser {
  take(record: AppRecord): void;
  onChange(): void;
}

/**
 * One app's record in the shared store, as this replica knows it: what the store was last seen to have, and on top of it
 * the changes that the store has not taken yet. Every write is a compare-and-set on the whole record; one that is lost is
 * made again on what is there instead. One operation at a time.
 */
export class SharedRecord {
  readonly #deps: SharedRecordDeps;
  readonly #appId: string;
  #user: SharedRecordUser | undefined;
  /** Of the record as it was last seen; null: the store has none. */
  #etag: string | null = null;
  #seen: AppRecord;
  /** The record in the store, as it stands there. */
  #storedApp: StoredApp | null = null;
  #record: AppRecord;
  /** Changes that are in use and not stored, oldest first. They may be made again on a record that has them already. */
  #pending: Change[] = [];
  #isFailing = false;
  /** Whether the store could not be asked what it has. */
  #isUnsure = false;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: SharedRecordDeps, appId: string) {
    this.#deps = deps;
    this.#appId = appId;
    this.#seen = emptyRecord('stable');
    this.#record = this.#seen;
  }

  /** What is in use. */
  get record(): AppRecord {
    return this.#record;
  }

  /** Whether a change that is in use could not be stored. */
  get failing(): boolean {
    return this.#isFailing;
  }

  /** Whether there is something to do once the store answers. */
  get isOpen(): boolean {
    return this.#pending.length > 0 || this.#isUnsure;
  }

  /** Whether the store has been seen to have the app. */
  get isKnown(): boolean {
    return this.#etag !== null;
  }

  /** Gives it to a user, in place of the one before. */
  attach(user: SharedRecordUser): void {
    this.#user = user;
  }

  /** Takes it from a user, unless it has been given to another meanwhile: an app that was taken out may be back already. */
  detach(user: SharedRecordUser): void {
    if (this.#user === user) this.#user = undefined;
  }

  /** See Coordinator. A change that `may` wait does not throw, and leaves a record that has it as it is. */
  change(change: Change, need: 'must' | 'may'): Promise<void> {
    return this.#inTurn(() => this.#change(change, need));
  }

  /**
   * Takes note of a record that a poll or a read brought. It may be older than what is known: then, and without one, the
   * store is asked what it has.
   */
  async see(storedApp: VersionedRecord | undefined): Promise<void> {
    if (storedApp && storedApp.etag === this.#etag) return;
    await this.#inTurn(async () => {
      if (storedApp && turnOf(storedApp.etag) > turnOf(this.#etag)) {
        this.#adopt(storedApp);
        this.#take(this.#reapplied());
      } else if (!storedApp || storedApp.etag !== this.#etag) await this.#verify();
      await this.#flush();
    });
  }

  /** Asks and stores what could not be before. */
  async flush(): Promise<void> {
    if (!this.isOpen) return;
    await this.#inTurn(async () => {
      if (this.#isUnsure) await this.#verify();
      if (!this.#isUnsure) await this.#flush();
    });
  }

  async #verify(): Promise<void> {
    try {
      await this.#ask();
      this.#take(this.#reapplied());
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#deps.onFailure(error.cause);
    }
  }

  /** Makes sure of what the store has. */
  async #ask(): Promise<void> {
    this.#isUnsure = true;
    let found: VersionedRecord | undefined;
    try {
      [found] = (await this.#deps.read([this.#appId])).records;
    } catch (error) {
      throw new StoreAwayError('the store does not answer', { cause: error });
    }
    this.#isUnsure = false;
    if ((found?.etag ?? null) !== this.#etag) this.#adopt(found ?? null);
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #change(change: Change, need: 'must' | 'may'): Promise<void> {
    if (need === 'may') this.#pending.push(change);
    try {
      await this.#write(need === 'may' ? undefined : change);
    } catch (error) {
      this.#take(this.#reapplied());
      if (!(error instanceof StoreAwayError)) throw error;
      this.#deps.onFailure(error.cause);
      if (need === 'must') throw error;
      this.#isFailing = true;
      this.#user?.onChange();
    }
  }

  async #flush(): Promise<void> {
    if (this.#pending.length === 0) return;
    try {
      await this.#write(undefined);
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#isFailing = true;
      this.#deps.onFailure(error.cause);
    }
    this.#user?.onChange();
  }

  /** Stores what is pending, and one more change. */
  async #write(change: Change | undefined): Promise<void> {
    const { replace, timeline, onLost } = this.#deps;
    const appId = this.#appId;
    for (;;) {
      if (this.#isUnsure) await this.#ask();
      const pending = this.#pending.length;
      const base = this.#reapplied();
      const next = change ? change(base) : base;
      const storedApp = toStored(appId, next, timeline);
      if (this.#storedApp && isSame(storedApp, this.#storedApp)) {
        this.#settle(next, pending);
        return;
      }
      const etag = `${turnOf(this.#etag) + 1}.${this.#deps.newId()}`;
      let replaced: Replaced;
      try {
        replaced = await replace(storedApp, this.#etag, etag);
      } catch (error) {
        this.#isUnsure = true; // it may be stored all the same
        throw new StoreAwayError('the store does not answer', { cause: error });
      }
      if (replaced.stored) {
        this.#etag = etag;
        this.#storedApp = storedApp;
        this.#settle(next, pending);
        return;
      }
      onLost();
      this.#adopt(replaced.found);
    }
  }

  #settle(record: AppRecord, pending: number): void {
    this.#seen = record;
    this.#pending.splice(0, pending);
    this.#isFailing = false;
    this.#take(record);
  }

  /** Takes note of what the store has. It is in use only when what is pending has been made again on it. */
  #adopt(found: VersionedRecord | null): void {
    this.#etag = found?.etag ?? null;
    this.#storedApp = found?.app ?? null;
    const there = found && this.#revived(found.app);
    for (const replica of there ? minters(this.#seen, there) : []) this.#deps.onSign(replica);
    const known = this.#seen;
    this.#seen = there ?? emptyRecord('stable');
    if (isBehind(this.#seen, known)) {
      this.#pending.unshift((record) => (isBehind(record, known) ? restored(known, record) : record));
    }
  }

  #reapplied(): AppRecord {
    return this.#pending.reduce((record, change) => change(record), this.#seen);
  }

  #take(record: AppRecord): void {
    if (record === this.#record) return;
    const { generation, current } = this.#record;
    if (record.generation < generation) {
      // It was published when the store could not be asked: whoever has it is never sent an older one.
      this.#pending.push((now) => {
        if (now.generation >= generation) return now;
        return { ...now, generation: now.current?.value === current?.value ? generation : generation + 1 };
      });
      this.#record = this.#reapplied();
    } else this.#record = record;
    this.#user?.take(this.#record);
  }

  #revived(stored: StoredApp): AppRecord {
    const { settings, timeline, random } = this.#deps;
    const now = timeline.elapsed();
    const revived = fromStored(stored, now, timeline, (life) => dueAt(life, stored.issuer, settings, random()));
    // By a clock that was set back since, its grace would be longer than any is.
    const end = now + settings.overlapMs;
    const { previous } = revived;
    const record =
      previous && previous.expiresAt > end ? { ...revived, previous: { ...previous, expiresAt: end } } : revived;
    const { current } = this.#record;
    if (!record.current || record.current.value !== current?.value || record.generation !== this.#record.generation)
      return record;
    // The draws of a generation are made once.
    const { dueAt: due, answeredAt } = current;
    const known = this.#record.previous;
    // An older record may show it longer; it is over when it was once found to be.
    const grace =
      known && record.previous
        ? { ...record.previous, expiresAt: Math.min(known.expiresAt, record.previous.expiresAt) }
        : null;
    return { ...record, previous: grace, current: { ...record.current, dueAt: due, answeredAt } };
  }
}

/** Each content of a record names the one before by counting on. */
function turnOf(etag: string | null): number {
  return etag === null ? 0 : Number.parseInt(etag, 10) || 0;
}

function isSame(a: StoredApp, b: StoredApp): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
