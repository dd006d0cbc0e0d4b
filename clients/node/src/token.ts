import { inspect } from 'node:util';

/**
 * One access_token. It does not change: when the broker has a newer one, the source has another `Token`. What prints one prints its
 * id: `String(token)`, `JSON.stringify`, `util.inspect` and template strings never show the value.
 */
export class Token {
  /** The first 12 hexadecimal digits of the value's SHA-256: the name of the token in logs. */
  readonly id: string;
  /** Rises with each new token of an app. Unsigned, 64 bits. */
  readonly generation: bigint;
  /** The token before it, while WeChat still honours it. The library never chooses it. */
  readonly previous: Token | undefined;
  readonly #value: string;

  /** @internal */
  constructor(value: string, id: string, generation: bigint, previous?: Token) {
    this.#value = value;
    this.id = id;
    this.generation = generation;
    this.previous = previous;
  }

  /** The secret, at most 2,048 characters: send it as `access_token`, and never log it. */
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
