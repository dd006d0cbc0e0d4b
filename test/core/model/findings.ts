/** What was found to be broken. The laws are checked inside callbacks of the code under test, so they note and do not throw. */
export class Findings {
  /** By law: the first breach says most. */
  readonly #broken = new Map<string, string>();

  /** Notes that a law is broken. `where` must hold no token value and no secret. */
  broken(law: string, where: string): void {
    if (!this.#broken.has(law)) this.#broken.set(law, where);
  }

  /** Notes it unless `holds`. */
  law(law: string, holds: boolean, where: () => string): void {
    if (!holds) this.broken(law, where());
  }

  /** Throws when anything was noted. `after` says what happened last. */
  verify(after: string): void {
    const broken = [...this.#broken].map(([law, where]) => `\n  ${law}: ${where}`);
    if (broken.length > 0) throw new Error(`after ${after}${broken.join('')}`);
  }
}

/** What no event, error or reason may hold: the model's secrets and the simulated WeChat's token values look like this. */
const SECRET = /secret of|92_[0-9a-z]+_/;

/** Whether a text holds a secret or a token value. */
export function leaks(text: string): boolean {
  return SECRET.test(text);
}
