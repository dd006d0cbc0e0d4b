import type { Clock, Random, Timer } from '../../src/core/kernel/clock.ts';
import type { Scheduler } from './scheduler.ts';

/** What reaches a process from outside: a timer that is due, or data on a socket. */
interface Input {
  readonly kind: 'timer' | 'data';
  readonly take: () => void;
}

/** Bytes that the process has written and that may not have left it. */
export interface Letter {
  /** Takes the bytes back if they have not left; whether it did. */
  withdraw(): boolean;
}

/** How long bytes stay in a process that runs. */
const DEPARTURE_MS = 0.5;

/**
 * One life of a process. Paused, it takes no input and its bytes do not leave, though monotonic time goes on: all that was
 * due comes at once when it is resumed, timers and data in an order that the seed draws. Dead, it does nothing any more.
 */
export class Life {
  readonly name: string;
  readonly clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  #state: 'running' | 'paused' | 'dead' = 'running';
  #inbox: Input[] = [];
  readonly #unsent = new Set<{ timer: Timer | undefined; readonly leave: () => void }>();
  readonly #onDeath = new Set<() => void>();

  /** `wallNow` is the wall clock of the machine that it runs on. */
  constructor(options: { name: string; scheduler: Scheduler; random: Random; wallNow: () => number }) {
    const { name, scheduler, random, wallNow } = options;
    this.name = name;
    this.#scheduler = scheduler;
    this.#random = random;
    const bootedAt = Math.floor(scheduler.now - random() * 1e6);
    this.clock = {
      now: wallNow,
      monotonic: () => scheduler.now - bootedAt,
      schedule: (delayMs, fn) => this.#schedule(delayMs, fn),
    };
  }

  get state(): 'running' | 'paused' | 'dead' {
    return this.#state;
  }

  /** Data arrives on a socket: `take` runs in the process, at once or when it is resumed, or never. */
  deliver(take: () => void): void {
    this.#input({ kind: 'data', take });
  }

  /** The process writes to a socket: `leave` is called when the bytes leave it, whatever becomes of it afterwards. */
  send(leave: () => void): Letter {
    const letter: { timer: Timer | undefined; readonly leave: () => void } = { timer: undefined, leave };
    this.#unsent.add(letter);
    if (this.#state === 'running') this.#post(letter);
    if (this.#state === 'dead') this.#unsent.delete(letter);
    return {
      withdraw: () => {
        letter.timer?.cancel();
        return this.#unsent.delete(letter);
      },
    };
  }

  /** Has `fn` called when the process dies; the disposer takes that back. */
  onDeath(fn: () => void): () => void {
    this.#onDeath.add(fn);
    return () => this.#onDeath.delete(fn);
  }

  pause(): void {
    if (this.#state !== 'running') return;
    this.#state = 'paused';
    for (const letter of this.#unsent) letter.timer?.cancel();
  }

  resume(): void {
    if (this.#state !== 'paused') return;
    this.#state = 'running';
    const waiting = this.#inbox;
    this.#inbox = [];
    const first = this.#random() < 0.5 ? 'timer' : 'data';
    const ordered = [...waiting.filter(({ kind }) => kind === first), ...waiting.filter(({ kind }) => kind !== first)];
    // One after another, as a run loop does, though within an instant.
    for (const [i, input] of ordered.entries()) this.#scheduler.after(i * 0.001, () => this.#input(input));
    for (const letter of this.#unsent) this.#post(letter);
  }

  /** The end, without a word. What had left the process stays sent. */
  kill(): void {
    if (this.#state === 'dead') return;
    this.#state = 'dead';
    for (const letter of this.#unsent) letter.timer?.cancel();
    this.#unsent.clear();
    this.#inbox = [];
    for (const fn of this.#onDeath) fn();
  }

  #schedule(delayMs: number, fn: () => void): Timer {
    let cancelled = false;
    const run = () => {
      if (!cancelled) fn();
    };
    // As the runtime's: in whole milliseconds, and a little late.
    const timer = this.#scheduler.after(Math.ceil(delayMs) + this.#random() * 0.5, () =>
      this.#input({ kind: 'timer', take: run }),
    );
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  #input(input: Input): void {
    if (this.#state === 'dead') return;
    if (this.#state === 'paused') {
      this.#inbox.push(input);
      return;
    }
    this.#scheduler.touch();
    input.take();
  }

  #post(letter: { timer: Timer | undefined; readonly leave: () => void }): void {
    letter.timer = this.#scheduler.after(this.#random() * DEPARTURE_MS, () => {
      this.#unsent.delete(letter);
      letter.leave();
    });
  }
}
