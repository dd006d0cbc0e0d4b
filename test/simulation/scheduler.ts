import type { Random, Timer } from '../../src/core/kernel/clock.ts';

interface Entry {
  readonly at: number;
  /** Orders what is due at the same moment: by the seed, not by who asked first. */
  readonly tie: number;
  fire: (() => void) | undefined;
}

/** Immediates that are set together. */
const IMMEDIATES = 256;

/** The one time line of a simulation: what is due at which moment, for every process, server and wire. */
export class Scheduler {
  readonly #random: Random;
  readonly #heap: Entry[] = [];
  #now = 0;
  #touched = false;
  /** What has fired so far. */
  fired = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Milliseconds since the simulation began. */
  get now(): number {
    return this.#now;
  }

  /** Has `fire` called after a delay; 0 or less: at this moment, after what runs now. */
  after(delayMs: number, fire: () => void): Timer {
    const entry: Entry = { at: this.#now + Math.max(0, delayMs), tie: this.#random(), fire };
    this.#push(entry);
    return {
      cancel: () => {
        entry.fire = undefined;
      },
    };
  }

  /** Code ran that may have left promises to settle: nothing more is due before they have. */
  touch(): void {
    this.#touched = true;
  }

  /** Lets everything happen that is due up to a moment. Rejects with what a call throws. */
  run(until: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let over = false;
    // Between two immediates every promise settles that can. Many at a time, since a turn of the event loop costs more.
    const batch = () => {
      for (let i = 1; i < IMMEDIATES; i++) setImmediate(step);
      setImmediate(() => {
        step();
        if (!over) batch();
      });
    };
    const step = () => {
      if (over) return;
      try {
        if (this.#work(until)) return;
        this.#now = Math.max(this.#now, until);
        over = true;
        resolve();
      } catch (error) {
        over = true;
        reject(error);
      }
    };
    batch();
    return promise;
  }

  /** Fires what is due until code ran that may have left promises to settle; false: nothing is due any more. */
  #work(until: number): boolean {
    for (;;) {
      const entry = this.#heap[0];
      if (!entry || entry.at > until) return false;
      this.#pop();
      if (!entry.fire) continue;
      this.#now = Math.max(this.#now, entry.at);
      this.fired++;
      entry.fire();
      if (!this.#touched) continue;
      this.#touched = false;
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(entry);
    while (i > 0) {
      const up = (i - 1) >> 1;
      const parent = heap[up] as Entry;
      if (!before(entry, parent)) break;
      heap[i] = parent;
      i = up;
    }
    heap[i] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry;
    const { length } = heap;
    if (length === 0) return;
    let i = 0;
    for (;;) {
      let down = 2 * i + 1;
      if (down >= length) break;
      if (down + 1 < length && before(heap[down + 1] as Entry, heap[down] as Entry)) down++;
      const child = heap[down] as Entry;
      if (!before(child, last)) break;
      heap[i] = child;
      i = down;
    }
    heap[i] = last;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.tie < b.tie);
}
