import { MAX_ANSWER_BYTES } from './malformed.ts';

/** Bytes that came in pieces, to `MAX_ANSWER_BYTES`. A piece is copied: a list of pieces of one byte takes a hundred times as much. */
export class Collected {
  #space = Buffer.alloc(0);
  #size = 0;

  get bytes(): Buffer {
    return this.#space.subarray(0, this.#size);
  }

  /** False: it would be too much, and is not added. */
  add(piece: Buffer): boolean {
    const size = this.#size + piece.length;
    if (size > MAX_ANSWER_BYTES) return false;
    if (size > this.#space.length) {
      const larger = Buffer.alloc(Math.min(MAX_ANSWER_BYTES, 2 * size));
      this.#space.copy(larger);
      this.#space = larger;
    }
    piece.copy(this.#space, this.#size);
    this.#size = size;
    return true;
  }
}
