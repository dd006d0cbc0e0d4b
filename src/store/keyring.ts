import { randomBytes } from 'node:crypto';
import { SealedError, StoreError } from './errors.ts';
import { parseKey } from './seal-key.ts';
import { NONCE_BYTES, Xaes256Gcm } from './xaes.ts';

/** In the place of a key: records are not sealed. */
export const PLAIN = 'plain';

/** A sealed record begins with the version of the seal. Of a version that is not known it is sealed all the same. */
const SEALED = /^lp\d+:/;
const FORM = /^lp1:([0-9a-f]{12}):([A-Za-z0-9_-]+)$/;

/** The keys of a store: the first seals what is written, and what any of them has sealed is opened. */
export class Keyring {
  /** Of a store that is not sealed. */
  static readonly plain = new Keyring(new Map([[PLAIN, undefined]]));

  /** By its id, in the order given; undefined: `plain`. */
  readonly #ciphers: ReadonlyMap<string, Xaes256Gcm | undefined>;

  private constructor(ciphers: ReadonlyMap<string, Xaes256Gcm | undefined>) {
    this.#ciphers = ciphers;
  }

  /** Reads a list of keys' texts and `plain`; none: [`plain`]. Throws a StoreError that says which is wrong and shows none. */
  static parse(texts: readonly string[]): Keyring {
    const ciphers = new Map<string, Xaes256Gcm | undefined>();
    texts.forEach((text, i) => {
      const key = text.trim() === PLAIN ? { id: PLAIN, secret: undefined } : parseKey(text);
      if ('error' in key) throw new StoreError(`store.seal[${i}]: ${key.error}`);
      if (ciphers.has(key.id))
        throw new StoreError(`store.seal[${i}]: ${key.id} is in the list already; give each once`);
      ciphers.set(key.id, key.secret && new Xaes256Gcm(key.secret));
    });
    return ciphers.size === 0 ? Keyring.plain : new Keyring(ciphers);
  }

  /** The ids of the keys that are held, `plain` among them where records may be so. */
  get held(): readonly string[] {
    return [...this.#ciphers.keys()];
  }

  /** The id of the key that seals, or `plain`. */
  get sealing(): string {
    return this.held[0] as string;
  }

  /** A record's text as it is stored. `ticket`: it is the record of the app's ticket of this type, else the app's own. */
  seal(appId: string, text: string, ticket?: string): string {
    const cipher = this.#ciphers.get(this.sealing);
    if (!cipher) return text;
    const nonce = randomBytes(NONCE_BYTES);
    const sealed = cipher.seal(nonce, Buffer.from(text), aadOf(appId, ticket));
    return `lp1:${this.sealing}:${Buffer.concat([nonce, sealed]).toString('base64url')}`;
  }

  /** The text of a stored record. Throws a SealedError that names the app and the store. */
  open(appId: string, stored: string, store: string, ticket?: string): string {
    const wanted = keyOf(stored);
    if (!this.#ciphers.has(wanted)) throw this.#refusal(appId, store, wanted, false);
    const cipher = this.#ciphers.get(wanted);
    if (!cipher) return stored;
    const encoded = FORM.exec(stored)?.[2] ?? '';
    const bytes = Buffer.from(encoded, 'base64url');
    // The last character may carry bits that nobody reads: of one record there is one text.
    const isCanonical = bytes.toString('base64url') === encoded;
    const aad = aadOf(appId, ticket);
    const text = isCanonical && cipher.open(bytes.subarray(0, NONCE_BYTES), bytes.subarray(NONCE_BYTES), aad);
    if (!text) throw this.#refusal(appId, store, wanted, true);
    return text.toString();
  }

  #refusal(appId: string, store: string, wanted: string, isChanged: boolean): SealedError {
    return this.refusal(store, [new SealedError(`the record of app ${appId}`, { wanted, isChanged })], appId);
  }

  /** What is said of records that cannot be opened, and what to do. */
  refusal(store: string, refused: readonly SealedError[], appId?: string): SealedError {
    const [first] = refused as [SealedError];
    const count = refused.length;
    const what = appId === undefined ? `${count} ${count === 1 ? 'record' : 'records'}` : `the record of app ${appId}`;
    const is = appId !== undefined || count === 1 ? 'is' : 'are';
    const changed = refused.filter((each) => each.isChanged);
    const wanted = new Set(refused.filter((each) => !each.isChanged).map((each) => each.wanted));
    const isPlain = wanted.delete(PLAIN);
    const ids = [...wanted].slice(0, MOST_NAMED).join(', ');
    const faults = [
      isPlain ? `not sealed, and ${PLAIN} is not in store.seal` : '',
      wanted.size > 0 ? `sealed by key ${ids}` : '',
      changed.length > 0 ? `sealed by key ${changed[0]?.wanted}, and changed since, or another app's` : '',
    ].filter((fault) => fault !== '');
    const advice = [
      isPlain ? `put ${PLAIN} last into store.seal until all are sealed` : '',
      wanted.size > 0 ? 'add the file of that key to store.seal' : '',
      changed.length > 0 ? 'restore the store from a backup' : '',
    ].filter((each) => each !== '');
    const forget = wanted.size > 0 || changed.length > 0 ? `, or, if it is lost, ${FORGET}` : '';
    const message = `${store}: ${what} cannot be opened: ${is} ${faults.join('; ')}. Held: ${this.held.join(', ')}. Nothing was changed or minted. To go on, ${advice.join(', and ')}${forget}.`;
    return new SealedError(message, { wanted: first.wanted, isChanged: first.isChanged });
  }
}

const MOST_NAMED = 5;
const FORGET =
  'run "lingpai store forget --sealed --config FILE": it removes what no held key opens, which costs one mint for each classic app';

/** The id of the key by which a stored record is sealed, or `plain`; `unknown`: it is sealed in a way that is not known. */
export function keyOf(stored: string): string {
  if (!SEALED.test(stored)) return PLAIN;
  return FORM.exec(stored)?.[1] ?? 'unknown';
}

/** What a sealed text is bound to: it opens as this record and as no other. */
function aadOf(appId: string, ticket: string | undefined): Buffer {
  return Buffer.from(ticket === undefined ? `lingpai/1/app/${appId}` : `lingpai/1/ticket/${appId}/${ticket}`);
}
