import type { Clock, Timer } from './clock.ts';

/** Something that can wait. */
export interface Waiting {
  /** Kept by its `CoalescedTimers`; undefined while it does not wait. */
  batch: object | undefined;
}

/** Those that began to wait at about the same time. */
interface Batch<T> {
  readonly beganAt: number;
  readonly items: Set<T>;
  readonly timer: Timer;
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
  readonly #batches = new Set<Batch<T>>();
  #newest: Batch<T> | undefined;
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
    if (item.batch) this.#leave(item);
    else this.#waiting++;
    item.batch = batch;
    batch.items.add(item);
  }

  /** The item no longer waits. When none does, no timer is left. */
  stop(item: T): void {
    if (!item.batch) return;
    this.#leave(item);
    item.batch = undefined;
    if (--this.#waiting > 0) return;
    for (const { timer } of this.#batches) timer.cancel();
    this.#batches.clear();
    this.#newest = undefined;
  }

  #leave(item: T): void {
    (item.batch as Batch<T>).items.delete(item);
  }

  #current(): Batch<T> {
    const now = this.#clock.monotonic();
    if (this.#newest && now - this.#newest.beganAt <= this.#delayMs * TOGETHER) return this.#newest;
    const timer = this.#clock.schedule(this.#delayMs, () => this.#due(batch));
    const batch: Batch<T> = { beganAt: now, items: new Set(), timer };
    this.#batches.add(batch);
    this.#newest = batch;
    return batch;
  }

  #due(batch: Batch<T>): void {
    this.#batches.delete(batch);
    if (this.#newest === batch) this.#newest = undefined;
    for (const item of batch.items) {
      this.stop(item);
      this.#onDue(item);
    }
  }
}
