import type { Clock } from '../kernel/clock.ts';
import { RateLimiter } from '../kernel/rate-limiter.ts';
import type { CallerLimits } from './ports.ts';

/** How many callers' rates are remembered; one that is forgotten begins with a second's worth of calls again. */
const MAX_CALLERS = 10_000;
/** How many of the oldest are looked at for one that has been idle, before one that has not is forgotten. */
const LOOKED_AT = 16;

/** Limits what each caller may use: calls a second, of which a second's worth may come at once, and streams that are open. */
export class CallerLimiter {
  readonly #clock: Pick<Clock, 'monotonic'>;
  #limits: CallerLimits;
  /** In the order in which they are looked at to be forgotten. */
  readonly #rates = new Map<string, RateLimiter>();
  /** Callers with streams that are open. */
  readonly #streams = new Map<string, number>();

  constructor(limits: CallerLimits, clock: Pick<Clock, 'monotonic'>) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Takes other limits into use. Streams that are open stay, and count. */
  configure(limits: CallerLimits): void {
    if (limits.calls !== this.#limits.calls) this.#rates.clear();
    this.#limits = limits;
  }

  /** Takes one call of the caller with this name and returns 0; or returns in how many milliseconds the next may be made. */
  call(name: string): number {
    const now = this.#clock.monotonic();
    return (this.#rates.get(name) ?? this.#greet(name, this.#limits.calls, now)).take(now);
  }

  /** Counts a stream that opens, and returns what is to be called when it has ended; undefined: there are too many. */
  open(name: string): (() => void) | undefined {
    const count = this.#streams.get(name) ?? 0;
    if (count >= this.#limits.streams) return undefined;
    this.#streams.set(name, count + 1);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      const left = (this.#streams.get(name) ?? 0) - 1;
      if (left > 0) this.#streams.set(name, left);
      else this.#streams.delete(name);
    };
  }

  /** The open streams of a caller. */
  streams(name: string): number {
    return this.#streams.get(name) ?? 0;
  }

  /** How many callers' rates are remembered. */
  get remembered(): number {
    return this.#rates.size;
  }

  #greet(name: string, calls: number, now: number): RateLimiter {
    if (this.#rates.size >= MAX_CALLERS) this.#forgetOne(now);
    const everyMs = 1000 / calls;
    const rate = new RateLimiter({ everyMs, earlyMs: 1000 - everyMs });
    this.#rates.set(name, rate);
    return rate;
  }

  #forgetOne(now: number): void {
    let looks = 0;
    for (const [name, rate] of this.#rates) {
      this.#rates.delete(name);
      if (rate.isIdle(now) || ++looks === LOOKED_AT) return;
      this.#rates.set(name, rate);
    }
  }
}
