import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, emptyRecord } from '../tokens/app-record.ts';
import type { MintRules, Reduced } from '../tokens/record-change.ts';
import { reduceShared, type SharedChange } from './shared-change.ts';

/** A change that is in use and not stored, and what it made of the record when it was last made. */
export interface PendingChange {
  readonly reduced: Reduced<SharedChange>;
}

interface Entry {
  change: SharedChange;
  reduced: Reduced<SharedChange>;
}

/** The changes of one record that the store has not taken yet, oldest first. They may be made again on a newer record. */
export class PendingChanges {
  readonly #rules: MintRules;
  readonly #timeline: Timeline;
  readonly #entries: Entry[] = [];
  #ownGeneration = 0;

  constructor(rules: MintRules, timeline: Timeline) {
    this.#rules = rules;
    this.#timeline = timeline;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** The last generation that a change of this process brought; 0: none. */
  get ownGeneration(): number {
    return this.#ownGeneration;
  }

  /** Adds a change after the others. It is made at the next replay. */
  add(change: SharedChange): PendingChange {
    const entry = newEntry(change);
    this.#entries.push(entry);
    return entry;
  }

  /** Adds a change before the others. */
  addFirst(change: SharedChange): void {
    this.#entries.unshift(newEntry(change));
  }

  /** The first so many are stored. */
  drop(count: number): void {
    this.#entries.splice(0, count);
  }

  /** Makes all of them again, on this record. */
  replay(base: AppRecord): AppRecord {
    let record = base;
    for (const entry of this.#entries) {
      entry.reduced = this.make(record, entry.change);
      entry.change = entry.reduced.again ?? entry.change;
      record = entry.reduced.record;
    }
    return record;
  }

  /** Makes one change, without keeping it. */
  make(record: AppRecord, change: SharedChange): Reduced<SharedChange> {
    const reduced = reduceShared(record, change, this.#timeline.moment(), this.#rules);
    if (reduced.result === 'rotated') this.#ownGeneration = reduced.record.generation;
    return reduced;
  }
}

/** A change that was not made yet. Its result is a placeholder: nobody reads it before the next replay. */
function newEntry(change: SharedChange): Entry {
  return { change, reduced: { record: emptyRecord() } };
}
