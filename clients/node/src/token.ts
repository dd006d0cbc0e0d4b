import { createHash } from 'node:crypto';
import { inspect } from 'node:util';

/** The longest value that is taken, in characters, as the protocol promises. */
export const LONGEST_VALUE = 2048;

/**
 * One access_token. It is immutable, and whatever prints it, `String`, `JSON.stringify` or `util.inspect`, prints its id (R18).
 */
export class Token {
  readonly #value: string;
  /** The first 12 hexadecimal digits of the value's SHA-256: its name in logs and in speech. */
  readonly id: string;
  /** Rises with each new token of the app; unsigned, 64 bits. 0 for a previous token, of which the broker does not say. */
  readonly generation: bigint;
  /** When its life is over, in milliseconds of `performance.now()`; Infinity where it does not expire. For SDKs that want to know. */
  readonly expiresAt: number;
  readonly #previous: Token | undefined;

  constructor(value: string, generation: bigint, expiresAt = Number.POSITIVE_INFINITY, previous?: Token) {
    this.#value = value;
    this.id = createHash('sha256').update(value).digest('hex').slice(0, 12);
    this.generation = generation;
    this.expiresAt = expiresAt;
    this.#previous = previous;
    Object.freeze(this);
  }

  /** The token before this one, during its grace, in which WeChat still honours it. No library chooses it (R13). */
  get previous(): Token | undefined {
    return this.#previous !== undefined && performance.now() < this.#previous.expiresAt ? this.#previous : undefined;
  }

  /** The secret, 1 to 2,048 characters: what WeChat takes as `access_token`. Do not log it. */
  get value(): string {
    return this.#value;
  }

  toString(): string {
    return this.id;
  }

  toJSON(): string {
    return this.id;
  }

  [inspect.custom](): string {
    return `Token ${this.id}`;
  }
}
