import type { Clock, Timer } from './clock.ts';

/** Something that can wait. All three are kept by its `CoalescedTimers`. */
export interface Waiting {
  /** Undefined while it does not wait. */
  batch: object | undefined;
  before: Waiting | undefined;
  after: Waiting | undefined;
}

/** Those that began to wait at about the same time, in a list that runs through themselves: a set of 10,000 costs more to change. */
interface Batch {
  readonly beganAt: number;
  readonly timer: Timer;
  first: Waiting | undefined;
  last: Waiting | undefined;
}

/** Those that begin to wait within this share of the delay wait together, the later ones that much less. */
const TOGETHER = 0.01;

/**
 * Tells of things for which a fixed time has passed, or up to 1 % less. One timer serves all that begin to wait at about
 * the same time: a rotation has 10,000 begin at once, and nearly all begin anew before their time has passed.
 */
export class CoalescedTimers<T extends Waiting> {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #onDue: (item: T) => void;
  readonly #batches = new Set<Batch>();
  #newest: Batch | undefined;
  #waiting = 0;

  constructor(clock: Clock, delayMs: number, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#onDue = onDue;
  }

  /** The item begins to wait, or begins anew. */
  start(item: T): void {
    const batch = this.#current();
    if (item.batch === batch) return;
    if (item.batch) leave(item);
    else this.#waiting++;
    item.batch = batch;
    item.before = batch.last;
    if (batch.last) batch.last.after = item;
    else batch.first = item;
    batch.last = item;
  }

  /** The item no longer waits. When none does, no timer is left. */
  stop(item: T): void {
    if (!item.batch) return;
    leave(item);
    if (--this.#waiting > 0) return;
    for (const { timer } of this.#batches) timer.cancel();
    this.#batches.clear();
    this.#newest = undefined;
  }

  #current(): Batch {
    const now = this.#clock.monotonic();
    if (this.#newest && now - this.#newest.beganAt <= this.#delayMs * TOGETHER) return this.#newest;
    const timer = this.#clock.schedule(this.#delayMs, () => this.#due(batch));
    const batch: Batch = { beganAt: now, timer, first: undefined, last: undefined };
    this.#batches.add(batch);
    this.#newest = batch;
    return batch;
  }

  #due(batch: Batch): void {
    this.#batches.delete(batch);
    if (this.#newest === batch) this.#newest = undefined;
    for (let item = batch.first; item; item = batch.first) {
      this.stop(item as T);
      this.#onDue(item as T);
    }
  }
}

function leave(item: Waiting): void {
  const batch = item.batch as Batch;
  if (item.before) item.before.after = item.after;
  else batch.first = item.after;
  if (item.after) item.after.before = item.before;
  else batch.last = item.before;
  item.batch = item.before = item.after = undefined;
}
