import type { BrokerEvent } from '../tokens/events.ts';

/** Whether the shared store answers this replica's polls, and whether it has lost what it had. */
export class StoreHealth {
  readonly #observe: (event: BrokerEvent) => void;
  readonly #monotonic: () => number;
  #isAvailable = true;
  #trouble = '';
  /** What was told of it while it is away: each of several troubles once. */
  readonly #told = new Set<string>();
  #answeredAt: number;
  #position = 0;

  constructor(options: { observe: (event: BrokerEvent) => void; monotonic: () => number }) {
    this.#observe = options.observe;
    this.#monotonic = options.monotonic;
    this.#answeredAt = options.monotonic();
  }

  /** Whether the last poll succeeded. */
  get isAvailable(): boolean {
    return this.#isAvailable;
  }

  /** Why it did not; empty: it did. */
  get trouble(): string {
    return this.#trouble;
  }

  /** Since the last poll that succeeded, in milliseconds. */
  get ageMs(): number {
    return this.#monotonic() - this.#answeredAt;
  }

  /** A poll was answered: the store has seen so many changes, ever. */
  answered(position: number): void {
    this.#answeredAt = this.#monotonic();
    if (!this.#isAvailable) this.#observe({ type: 'store_reached' });
    this.#isAvailable = true;
    this.#trouble = '';
    this.#told.clear();
    if (position < this.#position) this.#observe({ type: 'store_went_back', changes: this.#position - position });
    this.#position = position;
  }

  /** A poll failed. */
  failed(error: unknown): void {
    const wasAvailable = this.#isAvailable;
    this.#isAvailable = false;
    this.#trouble = error instanceof Error ? error.message : 'it does not answer';
    if (this.#told.has(this.#trouble)) return;
    this.#told.add(this.#trouble);
    this.#observe({ type: 'store_away', error, isNew: wasAvailable });
  }
}
