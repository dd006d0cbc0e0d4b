import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Jwks } from '../../src/access/jwks.ts';
import {
  adviseOnAlgorithm,
  type Issuer,
  JwtVerifier,
  MAX_VERIFYING,
  MAX_WAITING,
  SKEW_MS,
} from '../../src/access/jwt.ts';
import type { Refusal } from '../../src/access/refusal.ts';
import type { Principal } from '../../src/core/access/principal.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { jwksText, makeJwt, makeSigningKey, type SigningKey } from '../support/jwt.ts';

const ISS = 'https://issuer.example';
let key: SigningKey;
let other: SigningKey;
beforeAll(() => {
  key = makeSigningKey('k1');
  other = makeSigningKey('k2');
});

let clock: FakeClock;
beforeEach(() => {
  clock = new FakeClock();
});

/** An issuer whose keys are a text, or what `fetch` brings. */
function issuer(overrides: Partial<Issuer> = {}, fetch?: () => Promise<string>): Issuer {
  const source = fetch ? { url: 'https://issuer.example/jwks', ca: null, tokenFile: null } : { text: jwksText(key) };
  const jwks = new Jwks(source, {
    clock,
    fetchJwks: fetch ?? (() => Promise.reject(new Error())),
    onFetch: () => undefined,
  });
  return {
    name: 'prod',
    kubernetes: false,
    issuer: ISS,
    audience: 'lingpai',
    algorithms: ['RS256'],
    jwks,
    ...overrides,
  };
}

function claims(overrides: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { iss: ISS, aud: 'lingpai', sub: 'orders', exp: seconds() + 3600, ...overrides };
}

function seconds(): number {
  return Math.floor(clock.now() / 1000);
}

const token = (overrides: Readonly<Record<string, unknown>> = {}) => makeJwt(key, claims(overrides));

async function verify(jwt: string, issuers: Issuer[] = [issuer()]): Promise<Principal> {
  return await new JwtVerifier(issuers, clock).verify(jwt);
}

/** Why a token is refused, with its kind. */
async function refusal(jwt: string | Promise<string>, issuers?: Issuer[]): Promise<string> {
  try {
    await verify(await jwt, issuers);
  } catch (error) {
    return `${(error as Refusal).fault}: ${(error as Error).message}`;
  }
  throw new Error('it was believed');
}

describe('a token', () => {
  it('says who has it, until it expires and the clocks may differ no more', async () => {
    const exp = seconds() + 60;
    const verifier = new JwtVerifier([issuer()], clock);
    const jwt = token({ exp });
    const principal = await verifier.verify(jwt);
    expect(principal).toEqual({
      name: 'jwt:prod/orders',
      method: 'token',
      credentialId: expect.stringMatching(/^[0-9a-f]{12}$/),
      expireTime: exp * 1000 + SKEW_MS,
    });
    // From now on it is known without a wait.
    expect(verifier.verify(jwt)).toBe(principal);
    await clock.advance(60_000 + SKEW_MS - 1);
    expect(verifier.verify(jwt)).toBe(principal);
    expect(verifier.fault(principal)).toBeUndefined();
    expect((await verify(jwt)).name).toBe('jwt:prod/orders');
    await clock.advance(1);
    expect(verifier.fault(principal)).toBe('expired');
    const over = { message: 'the token has expired', owner: principal };
    expect(() => verifier.verify(jwt)).toThrow(expect.objectContaining(over));
    expect(await refusal(jwt)).toBe('expired: the token has expired');
  });

  it('has one id, however its signature is written', async () => {
    const jwt = token();
    // The last character of 256 bytes has four bits that nobody reads.
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const at = last.indexOf(jwt.at(-1) ?? '');
    const other = jwt.slice(0, -1) + last.charAt(at ^ 1);
    const verifier = new JwtVerifier([issuer()], clock);
    const [one, two] = [await verifier.verify(jwt), await verifier.verify(other)];
    expect(two).toEqual(one);
    expect((await verifier.verify(token({ jti: 'other' }))).credentialId).not.toBe(one.credentialId);
  });

  it('is not good for longer than a timestamp can say', async () => {
    const end = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000;
    expect((await verify(token({ exp: end - SKEW_MS / 1000 }))).expireTime).toBe(end * 1000);
    for (const exp of [end, 1e13, 1e300])
      expect(await refusal(token({ exp }))).toBe('invalid: the "exp" of the token is no time');
  });

  it('is not good before its time, give or take what clocks may differ by', async () => {
    const nbf = seconds() + 60;
    await clock.advance(60_000 - SKEW_MS - 1);
    expect(await refusal(token({ nbf }))).toBe(
      `invalid: the token's "nbf" is missing, of a wrong kind, or not fulfilled`,
    );
    await clock.advance(1);
    expect((await verify(token({ nbf }))).name).toBe('jwt:prod/orders');
  });

  it.each<[string, () => string | Promise<string>, string]>([
    [
      'without a signature',
      () => makeJwt(key, claims(), { header: { alg: 'none' }, signer: () => Buffer.alloc(0) }),
      'neither a key nor a JWT',
    ],
    ['of alg none', () => makeJwt(key, claims(), { header: { alg: 'none' } }), 'algorithm'],
    ['of alg nOnE', () => makeJwt(key, claims(), { header: { alg: 'nOnE' } }), 'algorithm'],
    [
      'of HS256 with the public key as the secret',
      () => {
        const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
        const secret = String(publicKey.export({ format: 'pem', type: 'spki' }));
        const signer = (input: string) => createHmac('sha256', secret).update(input).digest();
        return makeJwt(key, claims(), { header: { alg: 'HS256' }, signer });
      },
      'algorithm',
    ],
    ['of an algorithm that is not configured', () => makeJwt(key, claims(), { header: { alg: 'RS512' } }), 'algorithm'],
    [
      'with a key of its own',
      () => makeJwt(other, claims(), { header: { kid: 'k1', jwk: other.jwk } }),
      'a header "jwk"',
    ],
    [
      'that names where its key is',
      () => makeJwt(other, claims(), { header: { jku: 'https://evil' } }),
      'a header "jku"',
    ],
    ['that names a certificate', () => makeJwt(other, claims(), { header: { x5u: 'https://evil' } }), 'a header "x5u"'],
    ['with certificates', () => makeJwt(other, claims(), { header: { x5c: [] } }), 'a header "x5c"'],
    [
      'that asks for more than is looked at',
      () => makeJwt(key, claims(), { header: { crit: ['exp'] } }),
      'a header "crit"',
    ],
    ['that is not encoded', () => makeJwt(key, claims(), { header: { b64: false } }), 'a header "b64"'],
    ['of an unknown key', () => makeJwt(other, claims()), 'the key of the token is not one of its issuer'],
    ['without a kid', () => makeJwt(key, claims(), { header: { kid: undefined } }), 'names no key'],
    ['with a kid that is no text', () => makeJwt(key, claims(), { header: { kid: 1 } }), 'names no key'],
    [
      'of another key under a known kid',
      () => makeJwt(other, claims(), { header: { kid: 'k1' } }),
      'the signature of the token is wrong',
    ],
    [
      'with another signature algorithm',
      () => makeJwt(key, claims(), { signer: (input) => sign('sha512', Buffer.from(input), key.privateKey) }),
      'signature of the token is wrong',
    ],
    ['of another issuer', () => token({ iss: 'https://evil' }), 'of no issuer that is configured'],
    ['without an issuer', () => token({ iss: undefined }), 'of no issuer that is configured'],
    ['for another audience', () => token({ aud: 'other' }), 'another audience'],
    ['without an audience', () => token({ aud: undefined }), 'another audience'],
    ['for an audience that begins as ours', () => token({ aud: ['lingpai2', 'ling'] }), 'another audience'],
    ['without an end', () => token({ exp: undefined }), `the token's "exp" is missing`],
    ['with an end in words', () => token({ exp: '9999999999' }), `the token's "exp" is missing, of a wrong kind`],
    ['with an end that is null', () => token({ exp: null }), `the token's "exp" is missing, of a wrong kind`],
    [
      'without end',
      () => makeJwt(key, JSON.stringify(claims({ exp: 0 })).replace('"exp":0', '"exp":1e999')),
      'the "exp" of the token is no time',
    ],
    ['without a sub', () => token({ sub: undefined }), `the token's "sub" is missing`],
    ['with a sub that is no text', () => token({ sub: 1 }), '"sub" of the token is no text'],
    ['with an empty sub', () => token({ sub: '' }), 'the "sub" of the token is empty, too long'],
    ['with a sub that is too long', () => token({ sub: 'a'.repeat(257) }), 'the "sub" of the token is empty, too long'],
    ['with a line feed in its sub', () => token({ sub: 'a\nb' }), 'controls'],
    ['with text that turns in its sub', () => token({ sub: 'a\u202eb' }), 'controls'],
    ['with half a character in its sub', () => token({ sub: 'a\ud800' }), 'controls'],
    ['with white space in its sub', () => token({ sub: 'a b' }), 'white space'],
    ['with a star in its sub', () => token({ sub: 'a*' }), '"*"'],
    ['that is too long', () => token({ x: 'a'.repeat(8 * 1024) }), 'longer than 8 KiB'],
    ['of two parts', () => token().split('.').slice(0, 2).join('.'), 'neither a key nor a JWT'],
    ['of four parts', () => `${token()}.a`, 'neither a key nor a JWT'],
    ['with padding', () => `${token()}=`, 'neither a key nor a JWT'],
    ['whose head is no JSON', () => `bm8.${token().split('.').slice(1).join('.')}`, 'no JSON object'],
    ['whose claims are a list', () => makeJwt(key, '[]'), 'no JSON object'],
    [
      'whose claims are not UTF-8',
      () => token().replace(/\.[^.]+\./, `.${Buffer.from([0x22, 0xff, 0x22]).toString('base64url')}.`),
      'no JSON object',
    ],
    ['that is empty', () => '', 'neither a key nor a JWT'],
  ])('%s is not believed', async (_, make, cause) => {
    const told = await refusal(make());
    expect(told).toContain(cause);
    expect(told).toMatch(/^invalid: /);
  });

  it('with a character of its claims changed is not believed', async () => {
    const jwt = token();
    const [head = '', , tail = ''] = jwt.split('.');
    const forged = Buffer.from(JSON.stringify(claims({ sub: 'admin' }))).toString('base64url');
    expect(await refusal(`${head}.${forged}.${tail}`)).toContain('signature');
  });

  it('of a shared secret is not believed, though somebody configured that', async () => {
    const jwt = makeJwt(key, claims(), { header: { alg: 'HS256' } });
    expect(await refusal(jwt, [issuer({ algorithms: ['HS256', 'none'] })])).toContain('algorithm');
  });

  it('for several audiences, of which we are one, is fine', async () => {
    expect((await verify(token({ aud: ['a', 'lingpai'] }))).name).toBe('jwt:prod/orders');
  });

  it('of a weak key is not believed', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const weak = { kid: 'k1', privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid: 'k1' } };
    const jwks = new Jwks(
      { text: jwksText(weak) },
      { clock, fetchJwks: () => Promise.reject(), onFetch: () => undefined },
    );
    expect(await refusal(makeJwt(weak, claims()), [issuer({ jwks })])).toBe(
      'invalid: the token or the key of its issuer cannot be used',
    );
  });

  it('is held against the entry of its issuer that has its audience', async () => {
    const issuers = [issuer({ name: 'a', audience: 'x' }), issuer({ name: 'b' })];
    expect((await verify(token(), issuers)).name).toBe('jwt:b/orders');
  });
});

describe('a service account of Kubernetes', () => {
  it.each([
    ['system:serviceaccount:crm:notifier', 'k8s:prod/crm/notifier'],
    ['system:serviceaccount:a-1:b.c-d', 'k8s:prod/a-1/b.c-d'],
  ])('%s is %s', async (sub, name) => {
    expect((await verify(token({ sub }), [issuer({ kubernetes: true })])).name).toBe(name);
  });

  it.each([
    'orders',
    'system:serviceaccount:crm',
    'system:serviceaccount:crm:',
    'system:serviceaccount::a',
    'system:serviceaccount:crm/x:a',
    'system:serviceaccount:crm:a/b',
    'system:serviceaccount:crm:*',
    'system:serviceaccount:Crm:a',
    'system:serviceaccount:crm:a\n',
    'system:serviceaccount:crm:a:b',
    `system:serviceaccount:${'a'.repeat(64)}:a`,
    'xsystem:serviceaccount:crm:a',
  ])('"%s" is none', async (sub) => {
    expect(await refusal(token({ sub }), [issuer({ kubernetes: true })])).toContain('no service account');
  });
});

describe('what was proven', () => {
  it('is proven no more once its issuer, or its key, is gone', async () => {
    const before = issuer();
    const verifier = new JwtVerifier([before], clock);
    const jwt = token();
    const principal = await verifier.verify(jwt);
    verifier.issuers = [issuer({ audience: 'other' })];
    expect(verifier.fault(principal)).toBe('invalid');
    expect(() => verifier.verify(jwt)).toThrow('another audience');
    verifier.issuers = [before];
    expect(verifier.fault(principal)).toBeUndefined();
  });

  it('is proven no more once its kid names another key', async () => {
    let served = jwksText(key);
    const one = issuer({}, async () => served);
    await settle();
    const verifier = new JwtVerifier([one], clock);
    const jwt = token();
    const principal = await verifier.verify(jwt);
    served = jwksText({ ...other, kid: 'k1', jwk: { ...other.jwk, kid: 'k1' } });
    await clock.advance(300_000);
    expect(verifier.fault(principal)).toBe('invalid');
    await expect((async () => verifier.verify(jwt))()).rejects.toThrow('the signature of the token is wrong');
    served = jwksText(other);
    await clock.advance(300_000);
    expect(() => verifier.verify(jwt)).toThrow('the key of the token is not one of its issuer');
  });

  it('is checked once for all that ask at once, and again for those whose token is another', async () => {
    const verifier = new JwtVerifier([issuer()], clock);
    const jwt = token();
    const [first, second] = [verifier.verify(jwt), verifier.verify(jwt)];
    expect(first).toBe(second);
    await first;
    expect(verifier.verify(token({ sub: 'other' }))).toBeInstanceOf(Promise);
  });

  it('is remembered of so many, and the one longest unused goes first', async () => {
    const used = token({ sub: 'used' });
    const unused = token({ sub: 'unused' });
    const small = new JwtVerifier([issuer()], clock, 3);
    for (const jwt of [used, unused, token({ sub: 'a' })]) await small.verify(jwt);
    small.verify(used);
    await small.verify(token({ sub: 'b' }));
    expect(small.verify(used)).not.toBeInstanceOf(Promise);
    const again = small.verify(unused);
    expect(again).toBeInstanceOf(Promise);
    await again;
  });

  it('is not checked for more than so many at once', async () => {
    const verifier = new JwtVerifier([issuer()], clock);
    const [head, body] = token().split('.');
    const forged = (i: number) => `${head}.${body}.${Buffer.alloc(256, i % 251).toString('base64url')}${i}`;
    const begun = Array.from({ length: MAX_VERIFYING }, (_, i) => Promise.resolve(verifier.verify(forged(i))));
    const ended = Promise.allSettled(begun);
    expect(() => verifier.verify(forged(MAX_VERIFYING))).toThrow('too many tokens are being checked');
    expect((await ended).every(({ status }) => status === 'rejected')).toBe(true);
    expect((await verifier.verify(token())).name).toBe('jwt:prod/orders');
  });
});

describe('a token of a key that is not known yet', () => {
  it('waits for the keys of its issuer, and for others that come', async () => {
    const first = Promise.withResolvers<string>();
    const answers = [first.promise, Promise.resolve(jwksText(key, other))];
    const verifier = new JwtVerifier([issuer({}, () => answers.shift() ?? Promise.reject(new Error()))], clock);
    const early = verifier.verify(token());
    first.resolve(jwksText(key));
    expect((await early).name).toBe('jwt:prod/orders');
    const newer = makeJwt(other, claims());
    expect(() => verifier.verify(newer)).toThrow('not one of its issuer');
    await clock.advance(10_000);
    expect((await verifier.verify(newer)).name).toBe('jwt:prod/orders');
  });

  it('does not wait where many do already', async () => {
    const never = issuer({}, () => new Promise(() => undefined));
    const verifier = new JwtVerifier([never], clock);
    const waiting = Array.from({ length: MAX_WAITING }, () => Promise.resolve(verifier.verify(token())));
    const ended = Promise.allSettled(waiting);
    expect(() => verifier.verify(token())).toThrow('not one of its issuer');
    never.jwks[Symbol.dispose]();
    await settle();
    void ended;
  });
});

it('only algorithms of two keys can be configured', () => {
  for (const name of ['RS256', 'PS512', 'ES256', 'EdDSA']) expect(adviseOnAlgorithm(name)).toBeUndefined();
  for (const name of ['HS256', 'none', 'rs256', '']) expect(adviseOnAlgorithm(name)).toContain('write one of RS256');
});
