import type { Random } from '../../src/core/kernel/clock.ts';

/** What befalls the messages between a host and one server. All is well at the start. */
export class Wire {
  /** Nothing passes in either direction. */
  cut = false;
  /** The shares of requests and of answers that get lost. */
  lostRequests = 0;
  lostAnswers = 0;
  /** Messages overtake one another. */
  disorderly = false;
  /** The shortest and the usual longest time of a message. */
  #latencyMs: readonly [number, number];
  readonly #usualMs: readonly [number, number];
  readonly #random: Random;
  #lastArrival = 0;

  constructor(random: Random, usualMs: readonly [number, number]) {
    this.#random = random;
    this.#usualMs = usualMs;
    this.#latencyMs = usualMs;
  }

  /** Messages take this long from now on. */
  slow(latencyMs: readonly [number, number]): void {
    this.#latencyMs = latencyMs;
  }

  /** All is well again. */
  mend(): void {
    this.cut = false;
    this.lostRequests = 0;
    this.lostAnswers = 0;
    this.disorderly = false;
    this.#latencyMs = this.#usualMs;
  }

  /** Whether a request that leaves now gets lost. */
  losesRequest(): boolean {
    return this.cut || (this.lostRequests > 0 && this.#random() < this.lostRequests);
  }

  /** Whether an answer that leaves now gets lost. */
  losesAnswer(): boolean {
    return this.cut || (this.lostAnswers > 0 && this.#random() < this.lostAnswers);
  }

  /** The time of a message; most are near the shortest. */
  latency(): number {
    const [least, most] = this.#latencyMs;
    const draw = this.#random();
    return least + (most - least) * draw * draw;
  }

  /** How long a request that leaves now is on its way. Requests arrive in order unless the wire is disorderly. */
  passage(now: number): number {
    const arrival = now + this.latency();
    if (this.disorderly) return arrival - now;
    this.#lastArrival = Math.max(this.#lastArrival, arrival);
    return this.#lastArrival - now;
  }
}
