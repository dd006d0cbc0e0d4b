import { createCipheriv, createDecipheriv } from 'node:crypto';

/** The lengths of XAES-256-GCM in bytes. */
export const KEY_BYTES = 32;
export const NONCE_BYTES = 24;
export const TAG_BYTES = 16;

const BLOCK_BYTES = 16;
/** The first half of a nonce makes the key of one message, the second is that message's nonce. */
const HALF_NONCE_BYTES = 12;

/**
 * XAES-256-GCM with one key, as C2SP specifies it: AES-256-GCM whose nonces are long enough to be drawn by lot for as many
 * messages as anyone writes.
 */
export class Xaes256Gcm {
  /** AES of single blocks, which keeps nothing from one call to the next: to make it anew takes a third of all the time. */
  readonly #aes: ReturnType<typeof createCipheriv>;
  /** CMAC's first subkey. */
  readonly #k1: Buffer;

  /** `key` has 32 bytes. */
  constructor(key: Buffer) {
    this.#aes = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
    this.#k1 = doubled(this.#aes.update(Buffer.alloc(BLOCK_BYTES)));
  }

  /** The ciphertext, then its tag. `nonce` has 24 bytes and was never used with this key. */
  seal(nonce: Buffer, plaintext: Buffer, aad: Buffer): Buffer {
    const cipher = createCipheriv('aes-256-gcm', this.#keyFor(nonce), nonce.subarray(HALF_NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(aad);
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
  }

  /** What was sealed. Undefined: not this, by this key, with this nonce and `aad`. */
  open(nonce: Buffer, sealed: Buffer, aad: Buffer): Buffer | undefined {
    if (nonce.length !== NONCE_BYTES) return undefined;
    // Without its length Node takes a tag of 4 bytes, which can be guessed.
    const decipher = createDecipheriv('aes-256-gcm', this.#keyFor(nonce), nonce.subarray(HALF_NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(aad);
    try {
      decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()]);
    } catch {
      return undefined;
    }
  }

  /** The key of one message: CMAC in counter mode over the label X and the first half of the nonce. */
  #keyFor(nonce: Buffer): Buffer {
    const blocks = Buffer.alloc(2 * BLOCK_BYTES);
    for (const [at, counter] of [
      [0, 1],
      [BLOCK_BYTES, 2],
    ] as const) {
      blocks[at + 1] = counter;
      blocks[at + 2] = 0x58;
      nonce.copy(blocks, at + BLOCK_BYTES - HALF_NONCE_BYTES, 0, HALF_NONCE_BYTES);
      for (let i = 0; i < BLOCK_BYTES; i++) blocks[at + i] = (blocks[at + i] as number) ^ (this.#k1[i] as number);
    }
    return this.#aes.update(blocks);
  }
}

/** Times x in GF(2^128), as CMAC has it. */
function doubled(block: Buffer): Buffer {
  const result = Buffer.alloc(BLOCK_BYTES);
  let carry = 0;
  for (let i = BLOCK_BYTES - 1; i >= 0; i--) {
    const byte = block[i] as number;
    result[i] = (byte << 1) | carry;
    carry = byte >> 7;
  }
  // In the same time for either: the block is as secret as the key.
  result[BLOCK_BYTES - 1] = (result[BLOCK_BYTES - 1] as number) ^ (carry * 0x87);
  return result;
}
