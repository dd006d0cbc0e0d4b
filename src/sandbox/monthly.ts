/** Asia/Shanghai has had one offset since 1991. */
const SHANGHAI_MS = 8 * 3_600_000;

/** Counts what may be done so many times in a calendar month of Asia/Shanghai. */
export class Monthly {
  readonly #most: number;
  #month = '';
  #used = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** How many are left. */
  left(now: number): number {
    const month = new Date(now + SHANGHAI_MS).toISOString().slice(0, 'YYYY-MM'.length);
    if (month !== this.#month) this.#used = 0;
    this.#month = month;
    return this.#most - this.#used;
  }

  /** Counts one; false: there is none left. */
  take(now: number): boolean {
    if (this.left(now) <= 0) return false;
    this.#used++;
    return true;
  }
}
