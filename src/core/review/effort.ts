/** So much is done at a stretch: a millisecond or so. */
const STRETCH_CELLS = 100_000;

/** What taking one text in costs, in cells. */
const TEXT_CELLS = 100;

/** How much a review has computed, in cells of distance tables, and when others are to have their turn. */
export class Effort {
  readonly #pause: () => Promise<void>;
  #cells = 0;
  #rested = 0;
  #texts = 0;

  /** `pause` resolves when others have had their turn; what it rejects with ends the review. */
  constructor(pause: () => Promise<void>) {
    this.#pause = pause;
  }

  /** The cells that were computed so far. */
  get cells(): number {
    return this.#cells;
  }

  /** Counts one text that was taken in. */
  text(): void {
    this.#texts++;
  }

  /** Counts computed cells. */
  spend(cells: number): void {
    this.#cells += cells;
  }

  /** To be awaited between texts, where it is not undefined. */
  rest(): Promise<void> | undefined {
    const spent = this.#cells + this.#texts * TEXT_CELLS;
    if (spent - this.#rested < STRETCH_CELLS) return undefined;
    this.#rested = spent;
    return this.#pause();
  }
}
