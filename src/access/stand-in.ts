import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { hashOf, standInKey } from './key.ts';
import type { StoredKey } from './key-file.ts';

/**
 * What a stand-in says of itself: for which app it is, and by what its bearer is known. `key`: by the key with this id, which
 * signed it. `certificate`: by the client certificate of each call. `local`: not at all.
 */
export type StandIn = { readonly kind: 'local' | 'certificate'; readonly appId: string } | SignedStandIn;

interface SignedStandIn {
  readonly kind: 'key';
  readonly appId: string;
  readonly keyId: string;
  readonly signature: Buffer;
}

/** What every stand-in begins with: no access_token of WeChat's does. */
export const STAND_IN_PREFIX = 'lps1.';

/** The kinds by their first byte. */
const KINDS = { local: 0, key: 1, certificate: 2 } as const;
const KEY_ID_BYTES = 6;
const SIGNATURE_BYTES = 64;
const APP_ID = /^[A-Za-z0-9_-]{1,64}$/;
/** Of an app id of 64 characters. */
const MAX_LENGTH = STAND_IN_PREFIX.length + Math.ceil(((1 + KEY_ID_BYTES + SIGNATURE_BYTES + 64) * 4) / 3);
/** Keeps this signature apart from any other that the key pair may make. */
const SIGNED = Buffer.from('lingpai/1/stand-in\0');

/** A stand-in that nobody signed: it says for which app it is, and gives no right. */
export function unsignedStandIn(kind: 'local' | 'certificate', appId: string): string {
  return encode(Buffer.concat([Buffer.from([KINDS[kind]]), Buffer.from(appId)]));
}

/** A stand-in for this app that the holder of this key signs. */
export function signStandIn(key: string, keyId: string, appId: string): string {
  const id = Buffer.from(keyId, 'hex');
  const signature = sign(null, signed(id, appId), standInKey(key));
  return encode(Buffer.concat([Buffer.from([KINDS.key]), id, signature, Buffer.from(appId)]));
}

/** Reads a stand-in, whose signature it does not look at; undefined: it is none. Of each there is one way to write it. */
export function parseStandIn(text: string): StandIn | undefined {
  if (!text.startsWith(STAND_IN_PREFIX) || text.length > MAX_LENGTH) return undefined;
  const bytes = Buffer.from(text.slice(STAND_IN_PREFIX.length), 'base64url');
  // What is no base64url is skipped in silence, and so are bits that are over.
  if (encode(bytes) !== text) return undefined;
  const isSigned = bytes[0] === KINDS.key;
  const head = isSigned ? 1 + KEY_ID_BYTES + SIGNATURE_BYTES : 1;
  const appId = bytes.toString('latin1', head);
  if (!APP_ID.test(appId)) return undefined;
  if (isSigned) {
    const keyId = bytes.toString('hex', 1, 1 + KEY_ID_BYTES);
    return { kind: 'key', appId, keyId, signature: bytes.subarray(1 + KEY_ID_BYTES, head) };
  }
  if (bytes[0] === KINDS.local) return { kind: 'local', appId };
  return bytes[0] === KINDS.certificate ? { kind: 'certificate', appId } : undefined;
}

/** How many stand-ins are kept that were signed, and how many that were found good; of each some 300 bytes. */
const MOST = 10_000;

/** Signs and checks stand-ins, each once: both take some 100 us, and callers show the same ones again and again. */
export class StandIns {
  readonly #most: number;
  /** By the hash of key and app id, the one that was used last at the end. */
  readonly #signed = new Map<string, string>();
  /** By the hash of the stand-in, with the public half by which it is good. */
  readonly #good = new Map<string, { readonly standIn: StandIn; readonly by: string }>();

  /** `most`: how many of each are kept. */
  constructor(most = MOST) {
    this.#most = most;
  }

  /** A stand-in for this app, signed by this key. */
  sign(key: string, keyId: string, appId: string): string {
    const hash = hashOf(`${key}\0${appId}`);
    const standIn = this.#signed.get(hash) ?? signStandIn(key, keyId, appId);
    keep(this.#signed, hash, standIn, this.#most);
    return standIn;
  }

  /**
   * What a stand-in says, if it can be believed: `keyOf` is the key with an id, whose holder has to have signed it. Whether that key
   * is still good is another question.
   */
  verify(text: string, keyOf: (id: string) => Pick<StoredKey, 'public'> | undefined): StandIn | undefined {
    const hash = hashOf(text);
    const known = this.#good.get(hash);
    const standIn = known?.standIn ?? parseStandIn(text);
    if (standIn?.kind !== 'key') return standIn;
    const by = keyOf(standIn.keyId)?.public;
    if (by === undefined) return undefined;
    if (known?.by !== by) {
      const { keyId, appId, signature } = standIn;
      if (!verify(null, signed(Buffer.from(keyId, 'hex'), appId), publicKey(by), signature)) return undefined;
    }
    keep(this.#good, hash, { standIn, by }, this.#most);
    return standIn;
  }

  /** How many are kept. */
  get kept(): number {
    return this.#signed.size + this.#good.size;
  }
}

function signed(keyId: Buffer, appId: string): Buffer {
  return Buffer.concat([SIGNED, keyId, Buffer.from(appId)]);
}

function publicKey(x: string): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

function encode(bytes: Buffer): string {
  return STAND_IN_PREFIX + bytes.toString('base64url');
}

/** Puts an entry at the end, and forgets the first where there are too many. */
function keep<T>(kept: Map<string, T>, hash: string, value: T, most: number): void {
  kept.delete(hash);
  kept.set(hash, value);
  if (kept.size <= most) return;
  for (const oldest of kept.keys()) {
    kept.delete(oldest);
    break;
  }
}
