import { createLocalJWKSet, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import type { JwksAddress } from './fetch-jwks.ts';

/** Keys are fetched again this often, so that one that an issuer took back is not believed for long. */
export const REFRESH_MS = 300_000;
/** Between two fetches lies at least this, counted from the start of one: who makes up key ids has it asked no more often. */
export const COOLDOWN_MS = 10_000;
/** How long one fetch may take. */
export const FETCH_TIMEOUT_MS = 5_000;
const MAX_KEYS = 100;

/** A set of public keys, as it was read. */
interface KeySet {
  /** The keys of each kid as JSON: it changes when one of them does. */
  readonly byKid: ReadonlyMap<string, string>;
  readonly getKey: JWTVerifyGetKey;
}

/** A public key. */
export interface FoundKey {
  /** The key, or keys, as JSON: the same text for as long as it is the same key. */
  readonly json: string;
  /** Finds it, as jose asks for it. */
  readonly getKey: JWTVerifyGetKey;
}

/** What the keeper of a fetched set needs of others. */
export interface JwksDeps {
  readonly clock: Clock;
  readonly fetchJwks: (address: JwksAddress, signal: AbortSignal) => Promise<string>;
  /** Told of each fetch: why it failed, undefined when it did not. */
  readonly onFetch: (error: string | undefined) => void;
}

/** Public keys of an issuer as JSON text. Throws an Error that says what is wrong with them and what to do. */
function parseJwks(text: string): KeySet {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('is not JSON; put there what the issuer serves as its jwks_uri');
  }
  const keys = (value as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > MAX_KEYS)
    throw new Error(`has no list "keys" of 1 to ${MAX_KEYS} keys; put there what the issuer serves as its jwks_uri`);
  const byKid = new Map<string, string>();
  for (const key of keys) {
    if (typeof key !== 'object' || key === null) throw new Error('has a key that is no JSON object');
    const { kid, kty } = key as { kid?: unknown; kty?: unknown };
    if (kty === 'oct') throw new Error('has a secret key (kty "oct"); only public keys belong there');
    if (typeof kid === 'string') byKid.set(kid, (byKid.get(kid) ?? '') + JSON.stringify(key));
  }
  if (byKid.size === 0) throw new Error('has no key with a "kid", by which a token names its key');
  return { byKid, getKey: createLocalJWKSet(value as JSONWebKeySet) };
}

/** What is wrong with the text of a file of public keys, and what to do; undefined: nothing. */
export function adviseOnJwks(text: string): string | undefined {
  try {
    parseJwks(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The public keys of one issuer: a text, or fetched, and then the last good ones stay for as long as no newer ones come. */
export class Jwks implements Disposable {
  #set: KeySet | undefined;
  readonly #address: JwksAddress | undefined;
  readonly #deps: JwksDeps;
  #flight: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  #abort: AbortController | undefined;
  #closed = false;

  /** A set that is fetched is asked for at once. Throws an Error where a text is no set of keys. */
  constructor(source: { readonly text: string } | JwksAddress, deps: JwksDeps) {
    this.#deps = deps;
    if ('text' in source) this.#set = parseJwks(source.text);
    else {
      this.#address = source;
      void this.#fetch();
    }
  }

  /** The key of this id; undefined: there is none now. */
  find(kid: string): FoundKey | undefined {
    const json = this.#set?.byKid.get(kid);
    return json === undefined || !this.#set ? undefined : { json, getKey: this.#set.getKey };
  }

  /** Waits for newer keys where asking for them may help now; undefined: it may not. It never rejects. */
  renewed(): Promise<void> | undefined {
    if (this.#flight) return this.#flight;
    if (!this.#address || this.#closed || this.#deps.clock.monotonic() - this.#askedAt < COOLDOWN_MS) return undefined;
    return this.#fetch();
  }

  #fetch(): Promise<void> {
    const flight = this.#fetchOnce().finally(() => {
      this.#flight = undefined;
      if (this.#closed) return;
      this.#timer?.cancel();
      // Without any keys nobody of this issuer gets in.
      this.#timer = this.#deps.clock.schedule(this.#set ? REFRESH_MS : COOLDOWN_MS, () => void this.renewed());
    });
    this.#flight = flight;
    return flight;
  }

  async #fetchOnce(): Promise<void> {
    const { clock, fetchJwks, onFetch } = this.#deps;
    this.#askedAt = clock.monotonic();
    const abort = new AbortController();
    this.#abort = abort;
    const limit = clock.schedule(FETCH_TIMEOUT_MS, () => abort.abort(new Error('no answer within 5 s')));
    try {
      const set = parseJwks(await fetchJwks(this.#address as JwksAddress, abort.signal));
      if (this.#closed) return;
      this.#set = set;
      onFetch(undefined);
    } catch (error) {
      if (!this.#closed) onFetch(reasonOf(error));
    } finally {
      limit.cancel();
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#abort?.abort();
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const { code } = error as NodeJS.ErrnoException;
  return (code === undefined ? error.message : `${error.message} (${code})`).slice(0, 200);
}
