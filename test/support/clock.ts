import type { Clock, Timer } from '../../src/core/kernel/clock.ts';

interface Pending extends Timer {
  readonly at: number;
  readonly seq: number;
  readonly fn: () => void;
}

/** Lets every promise that can settle without time passing settle: all of them do before the event loop turns. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A clock that moves only when a test says so. */
export class FakeClock implements Clock {
  #monotonic = 1_000;
  #wall: number;
  #jumped = 0;
  #seq = 0;
  #timers = new Set<Pending>();
  /** Called after each timer that `advance` fires and at its end, once what can settle has settled. */
  onStep: (() => void) | undefined;

  constructor(wall = Date.UTC(2026, 0, 15, 4, 0, 0)) {
    this.#wall = wall;
  }

  now(): number {
    return this.#wall;
  }

  /** The time of everyone else: it passes as this clock's does, but does not jump with it. */
  readonly outside = { now: (): number => this.#wall - this.#jumped };

  monotonic(): number {
    return this.#monotonic;
  }

  schedule(delayMs: number, fn: () => void): Timer {
    const timer: Pending = {
      at: this.#monotonic + Math.max(0, delayMs),
      seq: this.#seq++,
      fn,
      cancel: () => this.#timers.delete(timer),
    };
    this.#timers.add(timer);
    return timer;
  }

  /** Timers that have neither fired nor been cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves both clocks on, firing timers at their moments and letting promises settle after each. */
  async advance(ms: number): Promise<void> {
    const end = this.#monotonic + ms;
    await settle();
    for (let next = this.#next(end); next; next = this.#next(end)) {
      this.#moveTo(Math.max(next.at, this.#monotonic));
      this.#timers.delete(next);
      next.fn();
      await settle();
      this.onStep?.();
    }
    this.#moveTo(end);
    await settle();
    this.onStep?.();
  }

  /** Sets the wall clock by this much; monotonic time does not notice. */
  jump(ms: number): void {
    this.#wall += ms;
    this.#jumped += ms;
  }

  /** The machine sleeps: wall time passes, monotonic time and timers stand still. */
  sleep(ms: number): void {
    this.#wall += ms;
  }

  /** Drops every timer, as the death of a process does. */
  forgetTimers(): void {
    this.#timers.clear();
  }

  #next(end: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.#timers) {
      if (timer.at <= end && (!first || timer.at < first.at || (timer.at === first.at && timer.seq < first.seq)))
        first = timer;
    }
    return first;
  }

  #moveTo(at: number): void {
    this.#wall += at - this.#monotonic;
    this.#monotonic = at;
  }
}
