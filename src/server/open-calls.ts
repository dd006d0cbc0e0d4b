/** Counts calls in progress and says when there are none. */
export class OpenCalls {
  #open = 0;
  #waiting: (() => void)[] = [];

  get count(): number {
    return this.#open;
  }

  began(): void {
    this.#open++;
  }

  ended(): void {
    if (--this.#open > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when no call is in progress. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#open === 0) resolve();
      else this.#waiting.push(resolve);
    });
  }
}
