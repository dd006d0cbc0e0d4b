const STAR = 0x2a;

/**
 * Bytes that pass in pieces, in which stars take the place of a secret: as many as it has bytes, so that no length changes. What may
 * be its beginning is held back until more has come.
 */
export class Mask {
  readonly #secret: Buffer;
  #held: Buffer = Buffer.alloc(0);

  /** An empty secret stands nowhere. */
  constructor(secret: string) {
    this.#secret = Buffer.from(secret);
  }

  /** The next piece, and what may pass of it and of what was held back. */
  push(piece: Buffer): Buffer {
    if (this.#secret.length === 0) return piece;
    const { bytes, end } = this.#starred(this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]));
    const from = bytes.length - this.#begunIn(bytes.subarray(end));
    this.#held = bytes.subarray(from);
    return bytes.subarray(0, from);
  }

  /** What was held back, now that nothing follows. */
  flush(): Buffer {
    const rest = this.#held;
    this.#held = Buffer.alloc(0);
    return rest;
  }

  /** A copy with stars, where there is something to hide; and where the last of it ends. */
  #starred(piece: Buffer): { bytes: Buffer; end: number } {
    let bytes = piece;
    let end = 0;
    for (let at = bytes.indexOf(this.#secret); at >= 0; at = bytes.indexOf(this.#secret, end)) {
      if (bytes === piece) bytes = Buffer.from(piece);
      end = at + this.#secret.length;
      bytes.fill(STAR, at, end);
    }
    return { bytes, end };
  }

  /** How many bytes at the end are the secret's first. */
  #begunIn(bytes: Buffer): number {
    const first = this.#secret[0] ?? 0;
    const from = Math.max(0, bytes.length - this.#secret.length + 1);
    for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
      const begun = bytes.length - at;
      if (bytes.compare(this.#secret, 0, begun, at) === 0) return begun;
    }
    return 0;
  }
}

/** Whole bytes in which stars take the place of a secret. */
export function masked(bytes: Buffer, secret: string): Buffer {
  const mask = new Mask(secret);
  return Buffer.concat([mask.push(bytes), mask.flush()]);
}
