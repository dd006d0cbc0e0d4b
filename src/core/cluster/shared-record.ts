import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, emptyRecord, toStored } from '../tokens/app-record.ts';
import type { Intent, Settings, StoredApp } from '../tokens/ports.ts';
import type { Reduced } from '../tokens/record-change.ts';
import { etagAfter, turnOf } from './etag.ts';
import { minters } from './intents.ts';
import { PendingChanges } from './pending-changes.ts';
import type { Replaced, SealedRecord, SharedStore, VersionedRecord } from './ports.ts';
import { isBehind } from './restore.ts';
import { revive } from './revive.ts';
import { type SharedChange, sharedRules } from './shared-change.ts';
import { StoreAwayError } from './store-away.ts';

/** What a shared record needs of its cluster. */
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

/** Who uses a shared record: is told of each new content, and when `failing` has changed. */
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
  /** Changes that are in use and not stored. */
  readonly #pending: PendingChanges;
  #isFailing = false;
  /** Whether the store could not be asked what it has. */
  #isUnsure = false;
  /** What the store has where it cannot be opened: nothing is written over it. */
  #sealed: SealedRecord | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: SharedRecordDeps, appId: string) {
    this.#deps = deps;
    this.#appId = appId;
    this.#pending = new PendingChanges(sharedRules(deps.settings, deps.replica), deps.timeline);
    this.#seen = emptyRecord();
    this.#record = this.#seen;
  }

  /** What is in use. */
  get record(): AppRecord {
    return this.#record;
  }

  /** The last generation that a change of this process brought; 0: none. */
  get ownGeneration(): number {
    return this.#pending.ownGeneration;
  }

  /** Whether a change that is in use could not be stored. */
  get failing(): boolean {
    return this.#isFailing;
  }

  /** Whether the store has a record that cannot be opened: it is neither used nor written over. */
  get isSealed(): boolean {
    return this.#sealed !== undefined;
  }

  /** Whether there is something to do once the store answers. */
  get isOpen(): boolean {
    return !this.#sealed && (this.#pending.size > 0 || this.#isUnsure);
  }

  /** Whether the store has been seen to have the app. */
  get isKnown(): boolean {
    return this.#etag !== null;
  }

  /** Tells this user of changes, in place of the one before. */
  attach(user: SharedRecordUser): void {
    this.#user = user;
  }

  /** Tells a user nothing more. Where another is attached already, nothing changes: an app that was removed may be back. */
  detach(user: SharedRecordUser): void {
    if (this.#user === user) this.#user = undefined;
  }

  /** Makes a change that is in use at once, and is stored when the store takes it. */
  change(change: SharedChange): Promise<Reduced<SharedChange>> {
    return this.#inTurn(() => this.#change(change));
  }

  /**
   * Makes a change only if it is stored. `guard` looks at the record before each try; what it throws, and what refuses the
   * change, leaves all as it is. Rejects with StoreAwayError when the store does not answer.
   */
  store(change: SharedChange, guard: (record: AppRecord) => void = () => undefined): Promise<Reduced<SharedChange>> {
    return this.#inTurn(() => this.#store(change, guard));
  }

  /**
   * Takes note of a record that a poll or a read brought. It may be older than what is known: then, and without one, the
   * store is asked what it has.
   */
  async see(storedApp: VersionedRecord | undefined): Promise<void> {
    if (!this.#sealed && storedApp && storedApp.etag === this.#etag) return;
    await this.#inTurn(async () => {
      if (this.#sealed || !storedApp) await this.#verify();
      else if (turnOf(storedApp.etag) > turnOf(this.#etag)) {
        this.#adopt(storedApp);
        this.#take(this.#pending.replay(this.#seen));
      } else if (storedApp.etag !== this.#etag) await this.#verify();
      if (!this.#sealed) await this.#flush();
    });
  }

  /** Takes note of a record that cannot be opened. It may be older than what is known: the store is asked. */
  async seeSealed({ etag }: SealedRecord): Promise<void> {
    if (etag === this.#sealed?.etag) return;
    await this.#inTurn(() => this.#verify());
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
      this.#take(this.#pending.replay(this.#seen));
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#deps.onFailure(error.cause);
    }
  }

  /** Reads what the store has, and adopts it. Rejects with StoreAwayError. */
  async #ask(): Promise<void> {
    this.#isUnsure = true;
    const reading = await this.#deps.read([this.#appId]).catch((cause: unknown) => {
      throw new StoreAwayError('the store does not answer', { cause });
    });
    const [found] = reading.records;
    this.#holdBack(reading.sealed?.[0]);
    this.#isUnsure = false;
    if ((found?.etag ?? null) !== this.#etag) this.#adopt(found ?? null);
  }

  /** Takes note of whether the store's record can be opened. Throws StoreAwayError where it cannot. */
  #holdBack(sealed: SealedRecord | undefined): void {
    const isNews = sealed?.etag !== this.#sealed?.etag;
    this.#sealed = sealed;
    if (isNews) this.#user?.onChange();
    if (!sealed) return;
    this.#isUnsure = true;
    throw new StoreAwayError('the record cannot be opened', { cause: sealed.error });
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#last.then(act);
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #change(change: SharedChange): Promise<Reduced<SharedChange>> {
    const pending = this.#pending.add(change);
    try {
      await this.#write();
    } catch (error) {
      this.#take(this.#pending.replay(this.#seen));
      if (!(error instanceof StoreAwayError)) throw error;
      this.#deps.onFailure(error.cause);
      this.#isFailing = true;
      this.#user?.onChange();
    }
    return pending.reduced;
  }

  async #store(change: SharedChange, guard: (record: AppRecord) => void): Promise<Reduced<SharedChange>> {
    let intent: Intent | undefined;
    try {
      return await this.#write((base) => {
        guard(base);
        const reduced = this.#pending.make(base, change);
        if (reduced.refusal) throw reduced.refusal;
        intent = reduced.intent;
        return reduced;
      });
    } catch (error) {
      this.#take(this.#pending.replay(this.#seen));
      if (!(error instanceof StoreAwayError)) throw error;
      this.#deps.onFailure(error.cause);
      throw new StoreAwayError(error.message, { cause: error.cause, intent });
    }
  }

  async #flush(): Promise<void> {
    if (this.#pending.size === 0) return;
    try {
      await this.#write();
    } catch (error) {
      if (!(error instanceof StoreAwayError)) throw error;
      this.#isFailing = true;
      this.#deps.onFailure(error.cause);
    }
    this.#user?.onChange();
  }

  /** Stores what is pending, and what `more` makes of it. */
  async #write(
    more: (base: AppRecord) => Reduced<SharedChange> = (record) => ({ record }),
  ): Promise<Reduced<SharedChange>> {
    const { replace, timeline, onLost } = this.#deps;
    const appId = this.#appId;
    for (;;) {
      if (this.#isUnsure) await this.#ask();
      const pending = this.#pending.size;
      const reduced = more(this.#pending.replay(this.#seen));
      const next = reduced.record;
      const storedApp = toStored(appId, next, timeline);
      if (this.#storedApp && isSame(storedApp, this.#storedApp)) {
        this.#stored(next, pending);
        return reduced;
      }
      const etag = etagAfter(this.#etag, this.#deps.newId());
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
        this.#stored(next, pending);
        return reduced;
      }
      onLost();
      this.#holdBack(replaced.sealed);
      this.#adopt(replaced.found);
    }
  }

  #stored(record: AppRecord, pending: number): void {
    this.#seen = record;
    this.#pending.drop(pending);
    this.#isFailing = false;
    this.#take(record);
  }

  /** Takes note of what the store has. It is in use only when what is pending has been made again on it. */
  #adopt(found: VersionedRecord | null): void {
    this.#etag = found?.etag ?? null;
    this.#storedApp = found?.app ?? null;
    const { settings, timeline, random } = this.#deps;
    const there = found && revive(found.app, this.#record, { settings, timeline, random });
    for (const replica of there ? minters(this.#seen, there) : []) this.#deps.onSign(replica);
    const known = this.#seen;
    this.#seen = there ?? emptyRecord();
    if (isBehind(this.#seen, known)) {
      this.#pending.addFirst({ type: 'restore', known });
    }
  }

  #take(record: AppRecord): void {
    if (record === this.#record) return;
    const { generation, current } = this.#record;
    if (record.generation < generation) {
      // It was published when the store could not be asked: whoever has it is never sent an older one.
      this.#pending.add({ type: 'keep_generation', generation, value: current?.value });
      this.#record = this.#pending.replay(this.#seen);
    } else this.#record = record;
    this.#user?.take(this.#record);
  }
}

function isSame(a: StoredApp, b: StoredApp): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
