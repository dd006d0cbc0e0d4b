import type { Random, Timer } from '../../src/core/clock.ts';

interface Entry {
  readonly at: number;
  /** Orders what is due at the same moment: by the seed, not by who asked first. */
  readonly tie: number;
  fire: (() => void) | undefined;
}

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
    return new Promise((resolve, reject) => {
      const step = () => {
        try {
          for (;;) {
            const entry = this.#heap[0];
            if (!entry || entry.at > until) break;
            this.#pop();
            if (!entry.fire) continue;
            this.#now = Math.max(this.#now, entry.at);
            this.fired++;
            entry.fire();
            if (!this.#touched) continue;
            this.#touched = false;
            // Between two immediates every promise settles that can.
            setImmediate(step);
            return;
          }
          this.#now = Math.max(this.#now, until);
          setImmediate(resolve);
        } catch (error) {
          reject(error);
        }
      };
      setImmediate(step);
    });
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
