import type { Random } from '../core/kernel/clock.ts';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** What the simulated WeChat makes up. No two tokens or message ids are the same, even where randomness repeats itself. */
export class Fresh {
  readonly #random: Random;
  #serial = 0;
  /** WeChat's are of this size: a reader that takes them for a double loses their last three digits. */
  #messageId = 3_000_000_000_000_000_000n;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A token's value, of at least 32 characters. */
  token(length: number): string {
    return this.#text('92_', length);
  }

  /** A text that no other is like. */
  #text(prefix: string, length: number): string {
    let value = `${prefix}${(this.#serial++).toString(36)}_`;
    while (value.length < length) value += alphabet[Math.floor(this.#random() * alphabet.length)];
    return value;
  }

  /** A ticket, as long as WeChat's. */
  ticket(): string {
    return this.#text('kgt8ON7yVITDhtdwci0qe', 86);
  }

  /** The id of an upload. */
  mediaId(): string {
    return this.#text('', 64);
  }

  /** A session key: 16 bytes in base64. */
  sessionKey(): string {
    return Buffer.from(Array.from({ length: 16 }, () => Math.floor(this.#random() * 256))).toString('base64');
  }

  /** A request id: its first part is the time, in wall-clock milliseconds since 1970. */
  rid(now: number): string {
    const part = (n: number) => (n >>> 0).toString(16).padStart(8, '0');
    const random = () => part(Math.floor(this.#random() * 2 ** 32));
    return `${part(Math.floor(now / 1000))}-${random()}-${random()}`;
  }

  /** A message id, in decimal digits. */
  messageId(): string {
    return String(++this.#messageId);
  }
}
