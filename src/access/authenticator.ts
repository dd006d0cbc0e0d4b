import type { IncomingHttpHeaders } from 'node:http';
import { credentialsError } from '../core/access/errors.ts';
import type { CredentialFault, Credentials } from '../core/access/ports.ts';
import type { Principal } from '../core/access/principal.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import { Certificates, isPeerSocket } from './certificate.ts';
import type { JwksAddress } from './fetch-jwks.ts';
import { Jwks } from './jwks.ts';
import { type Issuer, JwtVerifier } from './jwt.ts';
import { hashOf, isKey, KEY_LENGTH, KEY_PREFIX } from './key.ts';
import { parseKeys, type StoredKey } from './key-file.ts';
import { type DisbelievedCall, type Presented, Refusal } from './refusal.ts';

/** What is known of a call before its body is read. */
export interface CallHead {
  readonly headers: Readonly<IncomingHttpHeaders>;
  /** The headers as they came, names and values in turn: in `headers` the first of several stands for all. */
  readonly rawHeaders?: readonly string[];
  /** The connection: a TLSSocket where the listener has TLS. */
  readonly socket: { readonly remoteAddress?: string | undefined } | undefined;
}

/** Whose JWTs are identities, as it is configured. */
export interface IssuerSettings extends Omit<Issuer, 'jwks'> {
  readonly jwks: { readonly text: string } | JwksAddress;
}

/** By what callers are known. */
export interface AuthenticationSettings {
  /** The text of the key file; null: nobody has a key. */
  readonly keys: string | null;
  readonly tokens: readonly IssuerSettings[];
}

/** How an authentication ended. */
export type Result = 'ok' | 'missing' | 'invalid' | 'expired' | 'busy';

/** What the authenticator needs of others. */
export interface AuthenticatorDeps {
  readonly clock: Clock;
  readonly fetchJwks: (address: JwksAddress, signal: AbortSignal) => Promise<string>;
  /** Told of each call that was not believed. */
  readonly onFailure: (failure: DisbelievedCall) => void;
  /** Told how each call was known: `lingpai_authentications_total{method,result}`; with `ok`, by whom it is made. */
  readonly onResult: (method: Presented, result: Result, principal?: Principal) => void;
  /** Told of each fetch of an issuer's keys, by the issuer's name: why it failed, undefined when it did not. */
  readonly onFetch: (issuer: string, error: string | undefined) => void;
}

/** What a change of the settings did to the keys. */
export interface KeyChanges {
  readonly added: readonly StoredKey[];
  readonly revoked: readonly StoredKey[];
}

const REASONS = {
  missing: 'CREDENTIALS_MISSING',
  invalid: 'CREDENTIALS_INVALID',
  expired: 'CREDENTIALS_EXPIRED',
} as const satisfies Partial<Record<Refusal['fault'], CredentialFault>>;
const BUSY_RETRY_MS = 1_000;

interface KnownKey {
  readonly stored: StoredKey;
  readonly principal: Principal;
}

/** An issuer, and the settings that made it. */
interface KnownIssuer {
  readonly written: string;
  readonly issuer: Issuer;
}

/** Finds out who makes a call: by its bearer, which decides alone, or else by the client certificate of its connection. */
export class Authenticator implements Credentials, Disposable {
  readonly #deps: AuthenticatorDeps;
  #keys: ReadonlyMap<string, KnownKey>;
  #keysById: ReadonlyMap<string, KnownKey>;
  #issuers: readonly KnownIssuer[];
  readonly #jwts: JwtVerifier;
  readonly #certificates = new Certificates();

  /** Throws as `reconfigure` does. */
  constructor(settings: AuthenticationSettings, deps: AuthenticatorDeps) {
    this.#deps = deps;
    const { keys, issuers } = this.#prepare(settings, []);
    this.#keys = keys;
    this.#keysById = byId(keys);
    this.#issuers = issuers;
    this.#jwts = new JwtVerifier(
      issuers.map(({ issuer }) => issuer),
      deps.clock,
    );
  }

  /** The keys that are known, in the order of their file. */
  get keys(): readonly StoredKey[] {
    return [...this.#keys.values()].map(({ stored }) => stored);
  }

  /**
   * Who makes a call; a promise only for a JWT that is not known yet. Throws, or rejects with, a LingpaiError: CREDENTIALS_MISSING,
   * CREDENTIALS_INVALID, CREDENTIALS_EXPIRED, or CALLER_LIMITED while too many JWTs are being checked.
   */
  authenticate(head: CallHead): Principal | Promise<Principal> {
    const method = this.#methodOf(head);
    try {
      const found = this.#find(method, head);
      if (found instanceof Promise) {
        return found.then(
          (principal) => this.#believed(method, principal),
          (error) => this.#refused(method, head, error),
        );
      }
      return this.#believed(method, found);
    } catch (error) {
      return this.#refused(method, head, error);
    }
  }

  /** Whether the peer of a connection presented a certificate. */
  isCertified(socket: CallHead['socket']): boolean {
    return isPeerSocket(socket) && this.#certificates.isPresented(socket);
  }

  /** Who the peer of a connection is by its certificate; undefined: it presented none. Throws a Refusal. */
  byCertificate(socket: CallHead['socket']): Principal | undefined {
    return isPeerSocket(socket) ? this.#certificates.identify(socket, this.#deps.clock.now()) : undefined;
  }

  /** The key with this id. */
  keyOf(id: string): StoredKey | undefined {
    return this.#keysById.get(id)?.stored;
  }

  /** Who calls by something that the key with this id has signed. Throws a Refusal where that key is good no longer. */
  byKeyId(id: string): Principal {
    const known = this.#keysById.get(id);
    if (!known) throw new Refusal('invalid', 'the key is unknown or revoked');
    if (this.#isOver(known.principal)) throw new Refusal('expired', 'the key has expired', known.principal);
    return known.principal;
  }

  /** As `authenticate`, by what `find` finds in another way: it is counted and told alike. `find` throws a Refusal. */
  authenticateBy(method: Presented, socket: CallHead['socket'], find: () => Principal): Principal {
    try {
      return this.#believed(method, find());
    } catch (error) {
      return this.#refused(method, { headers: {}, socket }, error);
    }
  }

  fault(principal: Principal): CredentialFault | undefined {
    const fault = this.#faultOf(principal);
    return fault && REASONS[fault];
  }

  /**
   * Takes new settings in place of those before; what did not change, such as an issuer's fetched keys, stays. Throws a
   * KeyFileError, or an Error whose message says what is wrong with a `jwks`, and then nothing has changed.
   */
  reconfigure(settings: AuthenticationSettings): KeyChanges {
    const { keys, issuers } = this.#prepare(settings, this.#issuers);
    const before = this.#keys;
    for (const old of this.#issuers) if (!issuers.includes(old)) old.issuer.jwks[Symbol.dispose]();
    this.#keys = keys;
    this.#keysById = byId(keys);
    this.#issuers = issuers;
    this.#jwts.issuers = issuers.map(({ issuer }) => issuer);
    const missingFrom = (others: ReadonlyMap<string, KnownKey>, all: ReadonlyMap<string, KnownKey>) =>
      [...all].filter(([hash]) => !others.has(hash)).map(([, { stored }]) => stored);
    return { added: missingFrom(before, keys), revoked: missingFrom(keys, before) };
  }

  [Symbol.dispose](): void {
    for (const { issuer } of this.#issuers) issuer.jwks[Symbol.dispose]();
  }

  /** All that can fail of new settings. An issuer that begins to fetch comes last, so that none is left over. */
  #prepare({ keys, tokens }: AuthenticationSettings, old: readonly KnownIssuer[]) {
    const known = new Map<string, KnownKey>();
    for (const stored of keys === null ? [] : parseKeys(keys)) {
      const { name, id, expires } = stored;
      const principal: Principal = { name: `key:${name}`, method: 'key', credentialId: id, expireTime: expires };
      known.set(stored.hash, { stored, principal: Object.freeze(principal) });
    }
    const made = new Map<IssuerSettings, KnownIssuer>();
    for (const settings of tokens.toSorted((a, b) => Number('url' in a.jwks) - Number('url' in b.jwks)))
      made.set(settings, this.#issuerOf(settings, old));
    return { keys: known, issuers: tokens.flatMap((settings) => made.get(settings) ?? []) };
  }

  #issuerOf(settings: IssuerSettings, old: readonly KnownIssuer[]): KnownIssuer {
    const written = JSON.stringify(settings);
    const same = old.find((issuer) => issuer.written === written);
    if (same) return same;
    const { clock, fetchJwks, onFetch } = this.#deps;
    const { name } = settings;
    try {
      const jwks = new Jwks(settings.jwks, { clock, fetchJwks, onFetch: (error) => onFetch(name, error) });
      return { written, issuer: { ...settings, jwks } };
    } catch (error) {
      throw new Error(`the jwks of the issuer "${name}" ${(error as Error).message}`);
    }
  }

  /** What a call presents, by its look. A bearer that is no key is taken for a token. */
  #methodOf({ headers: { authorization }, socket }: CallHead): Presented {
    if (authorization !== undefined) return authorization.startsWith(KEY_PREFIX, 7) ? 'key' : 'token';
    return this.isCertified(socket) ? 'certificate' : 'none';
  }

  #find(method: Presented, { headers, rawHeaders, socket }: CallHead): Principal | Promise<Principal> {
    const { authorization } = headers;
    if (authorization !== undefined) {
      if (countOf(rawHeaders) > 1) throw new Refusal('invalid', 'there are several authorization headers');
      return method === 'key' ? this.#byKey(bearerOf(authorization)) : this.#jwts.verify(bearerOf(authorization));
    }
    const principal = this.byCertificate(socket);
    if (!principal) throw new Refusal('missing', 'no credentials were presented');
    return principal;
  }

  #byKey(bearer: string): Principal {
    const known = bearer.length === KEY_LENGTH ? this.#keys.get(hashOf(bearer)) : undefined;
    if (!known) throw new Refusal('invalid', isKey(bearer) ? 'the key is unknown or revoked' : 'the key is mistyped');
    if (this.#isOver(known.principal)) throw new Refusal('expired', 'the key has expired', known.principal);
    return known.principal;
  }

  #faultOf(principal: Principal): 'invalid' | 'expired' | undefined {
    switch (principal.method) {
      case 'local':
        return undefined;
      case 'certificate':
        return this.#certificates.fault(principal, this.#deps.clock.now());
      case 'token':
        return this.#jwts.fault(principal);
      case 'key': {
        const known = this.#keysById.get(principal.credentialId ?? '');
        if (known?.principal.name !== principal.name) return 'invalid';
        return this.#isOver(known.principal) ? 'expired' : undefined;
      }
    }
  }

  /** Keys may have got another time to expire since a principal was handed out: theirs counts. */
  #isOver({ expireTime }: Principal): boolean {
    return expireTime !== null && this.#deps.clock.now() >= expireTime;
  }

  #believed(method: Presented, principal: Principal): Principal {
    this.#deps.onResult(method, 'ok', principal);
    return principal;
  }

  #refused(method: Presented, { socket }: CallHead, error: unknown): never {
    const refusal = error instanceof Refusal ? error : new Refusal('invalid', 'the credentials could not be looked at');
    const { fault, owner } = refusal;
    this.#deps.onResult(method, fault);
    const whose = owner && { caller: owner.name, keyId: owner.credentialId };
    this.#deps.onFailure({ method, cause: refusal.message, peer: socket?.remoteAddress ?? '', ...whose });
    if (fault !== 'busy') throw credentialsError(REASONS[fault]);
    const message = 'too many tokens are being checked; try again';
    throw new LingpaiError(message, { reason: 'CALLER_LIMITED', retryAfterMs: BUSY_RETRY_MS });
  }
}

function byId(keys: ReadonlyMap<string, KnownKey>): ReadonlyMap<string, KnownKey> {
  return new Map([...keys.values()].map((key) => [key.stored.id, key]));
}

const SCHEME = /^bearer /i;

/** What an authorization header bears. Several in one, or another scheme, are none. */
function bearerOf(authorization: string): string {
  if (!SCHEME.test(authorization)) throw new Refusal('invalid', 'the authorization header is no "Bearer CREDENTIAL"');
  return authorization.slice(7);
}

function countOf(rawHeaders: readonly string[] = []): number {
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length === AUTHORIZATION.length && name.toLowerCase() === AUTHORIZATION) count++;
  }
  return count;
}

const AUTHORIZATION = 'authorization';
