import { expect } from 'vitest';

/** So much of a secret is enough to tell that it is there, though it was cut. */
const PART = 12;

/** Secrets of every kind that went into a broker, to be searched for in all that comes out of it. */
export class Canaries {
  readonly #parts = new Map<string, string>();
  readonly kinds = new Set<string>();

  /** Each has at least 12 characters, which are found nowhere by chance. */
  add(kind: string, ...secrets: readonly string[]): void {
    this.kinds.add(kind);
    for (const secret of secrets) {
      if (secret.length < PART) throw new TypeError(`a canary of kind ${kind} is too short to be known again`);
      for (const form of formsOf(secret)) {
        this.#parts.set(form.slice(0, PART), `${kind}, its begin`);
        this.#parts.set(form.slice(-PART), `${kind}, its end`);
      }
    }
  }

  /** What is found in a text, by kind; never the secret itself. */
  foundIn(text: string): string[] {
    return [...this.#parts].filter(([part]) => text.includes(part)).map(([, kind]) => kind);
  }

  /** Fails when one is found; the text is not shown. */
  expectNoneIn(texts: Readonly<Record<string, string>>): void {
    for (const [where, text] of Object.entries(texts)) {
      expect(text.length, `${where} is not empty`).toBeGreaterThan(0);
      expect(this.foundIn(text), `in ${where}`).toEqual([]);
    }
  }
}

/** A secret as it is, and as it is written elsewhere. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const base64 = bytes.toString('base64').replace(/.?=+$/, '');
  return [secret, encodeURIComponent(secret), base64, bytes.toString('hex')];
}
