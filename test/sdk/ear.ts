import { Middlebox } from '../support/middlebox.ts';

/** A wire that remembers what passed on it. */
export class Ear implements AsyncDisposable {
  readonly #box: Middlebox;
  readonly #heard = { near: [] as Buffer[], far: [] as Buffer[] };
  #wake = () => {};

  private constructor(box: Middlebox) {
    this.#box = box;
    box.hear = (from, bytes) => {
      this.#heard[from].push(bytes);
      this.#wake();
    };
  }

  /** Stands before `target`, a host and a port. */
  static async before(target: string): Promise<Ear> {
    return new Ear(await Middlebox.before(target));
  }

  /** Where it listens. */
  get url(): string {
    return `http://127.0.0.1:${this.#box.port}`;
  }

  /** Resolves when the next bytes pass. */
  async next(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  /** What those who connected said, one byte a character; what came on one connection may stand between what came on another. */
  get asked(): string {
    return Buffer.concat(this.#heard.near).toString('latin1');
  }

  /** What they were answered. */
  get answered(): string {
    return Buffer.concat(this.#heard.far).toString('latin1');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#box[Symbol.asyncDispose]();
  }
}
