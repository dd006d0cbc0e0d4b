/** Counts the turns of the event loop until it is stopped. */
export class Turns {
  count = 0;
  #next: NodeJS.Immediate;

  constructor() {
    const turn = () => {
      this.count++;
      this.#next = setImmediate(turn);
    };
    this.#next = setImmediate(turn);
  }

  [Symbol.dispose](): void {
    clearImmediate(this.#next);
  }
}
