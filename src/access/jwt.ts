import { errors, jwtVerify } from 'jose';
import type { Principal } from '../core/access/principal.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { FoundKey, Jwks } from './jwks.ts';
import { hashOf, idOf } from './key.ts';
import { Refusal } from './refusal.ts';

/** Whose JWTs are believed; `jwks` are its public keys. */
export interface Issuer {
  readonly name: string;
  readonly kubernetes: boolean;
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly jwks: Jwks;
}

/** A token that is longer is not looked at. */
export const MAX_JWT_BYTES = 8 * 1024;
/** So far may the clocks of the issuer and of this machine differ. */
export const SKEW_MS = 30_000;
/** Signatures that are checked at once, each 0.2 ms of a thread; calls beyond are told to come again. */
export const MAX_VERIFYING = 512;
/** Calls that wait for an issuer's newer keys; those beyond get the answer for an unknown key at once. */
export const MAX_WAITING = 64;
/** Proven tokens that are remembered, each some 500 bytes; the one that was longest unused goes first. */
export const MAX_REMEMBERED = 10_000;

/** Asymmetric ones alone: with a shared secret whoever can check can forge. */
const ALGORITHMS = new Set('RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' '));
/** Headers by which a token would bring or name its own key, or ask for what is not looked at. */
const FOREIGN = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip'];
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const ACCOUNT =
  /^system:serviceaccount:([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?):([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)$/;
const MAX_SUB = 256;
/** The end of the year 9999: no timestamp of the answers, nor JSON, knows a later one. */
const MAX_TIME = Date.UTC(9999, 11, 31, 23, 59, 59);

/** What is wrong with an algorithm's name, and what to write; undefined: nothing. */
export function adviseOnAlgorithm(name: string): string | undefined {
  return ALGORITHMS.has(name)
    ? undefined
    : `is not one that can be checked; write one of ${[...ALGORITHMS].join(', ')}`;
}

/** By what a token was proven: its proof is worth nothing once the issuer or its key is gone. */
interface Proof {
  readonly issuer: Issuer;
  readonly kid: string;
  readonly keyJson: string;
}

interface Claim {
  readonly issuer: Issuer;
  readonly kid: string;
}

/** Finds out whose a JWT is. What was proven is remembered by the token's hash until it expires. */
export class JwtVerifier {
  #issuers: readonly Issuer[];
  readonly #clock: Clock;
  readonly #proven = new Map<string, Principal>();
  readonly #underWay = new Map<string, Promise<Principal>>();
  readonly #proofs = new WeakMap<Principal, Proof>();
  readonly #maxRemembered: number;
  #waiting = 0;

  constructor(issuers: readonly Issuer[], clock: Clock, maxRemembered = MAX_REMEMBERED) {
    this.#issuers = issuers;
    this.#maxRemembered = maxRemembered;
    this.#clock = clock;
  }

  /** Replaces the issuers. A token that one of them proved stays proven only while that very one is here. */
  set issuers(issuers: readonly Issuer[]) {
    this.#issuers = issuers;
  }

  /** Whose a token is; a promise where that is not known yet. Throws, or rejects with, a Refusal. */
  verify(token: string): Principal | Promise<Principal> {
    if (token.length > MAX_JWT_BYTES) throw new Refusal('invalid', 'the token is longer than 8 KiB');
    const hashed = hashOf(token);
    const known = this.#proven.get(hashed);
    if (known) {
      const fault = this.fault(known);
      this.#proven.delete(hashed);
      if (fault === 'expired') throw new Refusal('expired', EXPIRED, known);
      if (!fault) {
        this.#proven.set(hashed, known);
        return known;
      }
    }
    return this.#underWay.get(hashed) ?? this.#begin(token, hashed);
  }

  /** Why whoever was proven would not be now; undefined: it would. */
  fault(principal: Principal): 'invalid' | 'expired' | undefined {
    const proof = this.#proofs.get(principal);
    if (!proof || !this.#issuers.includes(proof.issuer)) return 'invalid';
    if (proof.issuer.jwks.find(proof.kid)?.json !== proof.keyJson) return 'invalid';
    return principal.expireTime !== null && this.#clock.now() >= principal.expireTime ? 'expired' : undefined;
  }

  #begin(token: string, hashed: string): Promise<Principal> {
    const claim = this.#read(token);
    const key = claim.issuer.jwks.find(claim.kid);
    if (key) return this.#prove(token, hashed, claim, key);
    const renewed = this.#waiting < MAX_WAITING ? claim.issuer.jwks.renewed() : undefined;
    if (!renewed) throw new Refusal('invalid', UNKNOWN_KEY);
    this.#waiting++;
    const proven = renewed.then(() => {
      this.#waiting--;
      const newer = claim.issuer.jwks.find(claim.kid);
      if (!newer) throw new Refusal('invalid', UNKNOWN_KEY);
      return this.#underWay.get(hashed) ?? this.#prove(token, hashed, claim, newer);
    });
    return proven;
  }

  /** What a token says of itself, as far as that decides whether its signature is worth checking. */
  #read(token: string): Claim {
    if (!COMPACT.test(token)) throw new Refusal('invalid', 'the bearer is neither a key nor a JWT');
    const [head = '', body = ''] = token.split('.');
    const header = decode(head);
    const payload = decode(body);
    const foreign = FOREIGN.find((name) => Object.hasOwn(header, name));
    if (foreign !== undefined) throw new Refusal('invalid', `the token has a header "${foreign}"`);
    const issuers = this.#issuers.filter(({ issuer }) => issuer === payload['iss']);
    if (issuers.length === 0) throw new Refusal('invalid', 'the token is of no issuer that is configured');
    const audiences: unknown[] = Array.isArray(payload['aud']) ? payload['aud'] : [payload['aud']];
    const issuer = issuers.find(({ audience }) => audiences.includes(audience));
    if (!issuer) throw new Refusal('invalid', 'the token is for another audience');
    const { alg, kid } = header;
    if (typeof alg !== 'string' || !ALGORITHMS.has(alg) || !issuer.algorithms.includes(alg))
      throw new Refusal('invalid', 'the algorithm of the token is not one of those configured');
    if (typeof kid !== 'string') throw new Refusal('invalid', 'the token names no key');
    return { issuer, kid };
  }

  #prove(token: string, hashed: string, claim: Claim, key: FoundKey): Promise<Principal> {
    if (this.#underWay.size >= MAX_VERIFYING) throw new Refusal('busy', 'too many tokens are being checked');
    const proving = this.#check(token, hashed, claim, key).finally(() => this.#underWay.delete(hashed));
    this.#underWay.set(hashed, proving);
    return proving;
  }

  async #check(token: string, hashed: string, { issuer, kid }: Claim, key: FoundKey): Promise<Principal> {
    const { payload } = await jwtVerify(token, key.getKey, {
      algorithms: [...issuer.algorithms],
      issuer: issuer.issuer,
      audience: issuer.audience,
      requiredClaims: ['exp', 'sub'],
      clockTolerance: SKEW_MS / 1000,
      currentDate: new Date(this.#clock.now()),
    }).catch((error: unknown) => {
      throw refusalOf(error);
    });
    const expireTime = Number(payload.exp) * 1000 + SKEW_MS;
    if (!(Math.abs(expireTime) <= MAX_TIME)) throw new Refusal('invalid', 'the "exp" of the token is no time');
    const name = nameOf(issuer, payload.sub);
    // Of what was signed: who holds a token can write a signature in several ways, and so have it go by another id.
    const credentialId = idOf(hashOf(token.slice(0, token.lastIndexOf('.'))));
    const principal: Principal = Object.freeze({ name, method: 'token', credentialId, expireTime });
    this.#proofs.set(principal, { issuer, kid, keyJson: key.json });
    // The keys or issuers may have changed while the signature was looked at.
    const fault = this.fault(principal);
    if (fault) throw new Refusal(fault, fault === 'expired' ? EXPIRED : UNKNOWN_KEY);
    this.#proven.set(hashed, principal);
    if (this.#proven.size > this.#maxRemembered) this.#proven.delete(this.#proven.keys().next().value ?? '');
    return principal;
  }
}

const EXPIRED = 'the token has expired';
const UNKNOWN_KEY = 'the key of the token is not one of its issuer';

function decode(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url')));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Below.
  }
  throw new Refusal('invalid', 'a part of the token is no JSON object');
}

function nameOf({ name, kubernetes }: Issuer, sub: unknown): string {
  if (typeof sub !== 'string') throw new Refusal('invalid', 'the "sub" of the token is no text');
  if (kubernetes) {
    const [, namespace, account] = ACCOUNT.exec(sub) ?? [];
    if (namespace === undefined) throw new Refusal('invalid', 'the "sub" of the token is no service account');
    return `k8s:${name}/${namespace}/${account}`;
  }
  if (sub === '' || sub.length > MAX_SUB || /[\p{C}\p{Z}*]/u.test(sub))
    throw new Refusal('invalid', 'the "sub" of the token is empty, too long, or has white space, controls or a "*"');
  return `jwt:${name}/${sub}`;
}

/** What jose found, in words of our own: its messages are not bound to hold nothing of a token. */
function refusalOf(error: unknown): Refusal {
  if (error instanceof errors.JWTExpired) return new Refusal('expired', EXPIRED);
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new Refusal('invalid', 'the signature of the token is wrong');
  if (error instanceof errors.JWTClaimValidationFailed) {
    const claim = ['exp', 'nbf', 'iat', 'iss', 'aud', 'sub'].find((name) => name === error.claim) ?? 'a claim';
    return new Refusal('invalid', `the token's "${claim}" is missing, of a wrong kind, or not fulfilled`);
  }
  if (error instanceof errors.JWKSNoMatchingKey) return new Refusal('invalid', UNKNOWN_KEY);
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return new Refusal('invalid', 'its issuer has several keys of the id that the token names');
  return new Refusal('invalid', 'the token or the key of its issuer cannot be used');
}
