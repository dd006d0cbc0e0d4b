/** Stubs that are kept. */
const MOST_STUBS = 100;

/** What paths that the simulated WeChat does not know are answered with. */
export class Stubs {
  readonly #texts = new Map<string, string>();

  /** The answer of a path from now on. False: there are as many as may be. */
  set(path: string, text: string): boolean {
    if (!this.#texts.has(path) && this.#texts.size >= MOST_STUBS) return false;
    this.#texts.set(path, text);
    return true;
  }

  /** The answer of a path: what was set, or that all is well. */
  answer(path: string): string {
    return this.#texts.get(path) ?? '{"errcode":0,"errmsg":"ok"}';
  }

  /** The paths that have one. */
  get paths(): readonly string[] {
    return [...this.#texts.keys()];
  }

  /** Forgets all. */
  clear(): void {
    this.#texts.clear();
  }
}
