/** Does large pieces of work in order, one in each turn of the event loop, so that whatever is small passes in between. */
export class Turns {
  readonly #works: (() => void)[] = [];

  /** `work` must not throw. */
  add(work: () => void): void {
    if (this.#works.push(work) === 1) setImmediate(this.#next);
  }

  readonly #next = (): void => {
    this.#works[0]?.();
    this.#works.shift();
    if (this.#works.length > 0) setImmediate(this.#next);
  };
}
