import type { Random } from '../../src/core/kernel/clock.ts';

/** Draws what inputs are made of. All of it follows from the seed. */
export class Draw {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A whole number from 0 to `below`, exclusive. */
  below(below: number): number {
    return Math.floor(this.#random() * below);
  }

  /** True in one of so many cases. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new RangeError('there is nothing to pick from');
    return value;
  }

  /** Up to `most` of what `make` makes. */
  some<T>(most: number, make: (index: number) => T): T[] {
    return Array.from({ length: this.below(most + 1) }, (_, index) => make(index));
  }

  bytes(most: number): Buffer {
    return Buffer.from(this.some(most, () => this.below(256)));
  }

  /** Text of what is hard on parsers, folders and printers of text. */
  text(most: number): string {
    return this.some(most, () => this.pick(HARD)).join('');
  }

  /** A value of JSON, at most so deep. */
  json(depth: number): unknown {
    switch (this.below(depth > 0 ? 9 : 7)) {
      case 0:
        return null;
      case 1:
        return this.oneIn(2);
      case 2:
        return this.pick(NUMBERS);
      case 3:
        return this.below(100_000);
      case 4:
      case 5:
        return this.text(8);
      case 6:
        return this.pick(WORDS);
      case 7:
        return this.some(4, () => this.json(depth - 1));
      default:
        return Object.fromEntries(this.some(4, () => [this.pick(WORDS), this.json(depth - 1)]));
    }
  }

  /** Bytes with some of them changed, left out, doubled or moved; or as they are. */
  mutated(bytes: Buffer): Buffer {
    let result = bytes;
    for (let left = this.below(4); left > 0; left--) {
      const at = this.below(result.length + 1);
      const to = Math.min(result.length, at + 1 + this.below(16));
      const [before, part, after] = [result.subarray(0, at), result.subarray(at, to), result.subarray(to)];
      switch (this.below(6)) {
        case 0:
          result = Buffer.concat([before, after]);
          break;
        case 1:
          result = Buffer.concat([before, part, part, after]);
          break;
        case 2:
          result = Buffer.concat([before, this.bytes(8), after]);
          break;
        case 3:
          result = Buffer.concat([before, Buffer.from(this.text(4)), after]);
          break;
        case 4:
          result = Buffer.from(before);
          break;
        default:
          result = Buffer.from(result);
          if (at < result.length) result[at] = (result[at] ?? 0) ^ (1 << this.below(8));
      }
    }
    return result;
  }
}

const NUMBERS = [0, -0, -1, 1.5, 40001, 45009, 7200, 2 ** 31, 2 ** 53, -(2 ** 63), 1e308, 1e-320];
/** Names that mean something somewhere. */
const WORDS = [
  'access_token',
  'expires_in',
  'errcode',
  'errmsg',
  'ip_list',
  'msgid',
  'appId',
  'app_id',
  '__proto__',
  'constructor',
  'toString',
  'secret',
  'generation',
  'current',
  'kind',
  'data',
  'message',
];
const HARD = [
  'a',
  'Z',
  '0',
  ' ',
  '\t',
  '\n',
  '\r',
  '\0',
  '\u001b[31m',
  '"',
  '\\',
  "'",
  '{',
  '}',
  '[',
  ']',
  ':',
  ',',
  '#',
  '&',
  '*',
  '!',
  '%',
  '-',
  '?',
  '|',
  '>',
  '@',
  '`',
  '<',
  '/',
  '\u0085',
  '\u2028',
  '\u202e',
  '\ufdfa',
  '\ufeff',
  '\ud800',
  '\udfff',
  '令牌',
  '😀',
  'é',
  'rid: 1-2-3',
  '~',
  '...',
  '---',
  '%00',
  '%F0',
];
