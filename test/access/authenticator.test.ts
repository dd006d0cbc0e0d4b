import { X509Certificate } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type AuthenticationSettings,
  Authenticator,
  type CallHead,
  type IssuerSettings,
} from '../../src/access/authenticator.ts';
import { LOCAL, type Principal } from '../../src/core/access/principal.ts';
import type { LingpaiError } from '../../src/core/kernel/errors.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { issue } from '../support/certificates.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { jwksText, makeJwt, makeSigningKey } from '../support/jwt.ts';

const PAY = 'spiffe://prod.example/pay';
const signing = makeSigningKey('k1');
const ca = issue({ name: 'ca', isCa: true });
const leaf = issue({ by: ca, usage: 'client', names: [`uri:${PAY}`] });
const ISSUER: IssuerSettings = {
  name: 'prod',
  kubernetes: false,
  issuer: 'https://issuer.example',
  audience: 'lingpai',
  algorithms: ['RS256'],
  jwks: { text: jwksText(signing) },
};

let clock: FakeClock;
let failures: { method: string; cause: string; peer: string }[];
let results: string[];
let fetches: string[];
beforeEach(() => {
  clock = new FakeClock(Date.now());
  failures = [];
  results = [];
  fetches = [];
});

function authenticator(settings: Partial<AuthenticationSettings> = {}): Authenticator {
  return new Authenticator(
    { keys: null, tokens: [], ...settings },
    {
      clock,
      fetchJwks: async ({ url }) => {
        fetches.push(url);
        return jwksText(signing);
      },
      onFailure: (failure) => failures.push(failure),
      onResult: (method, result) => results.push(`${method} ${result}`),
      onFetch: () => undefined,
    },
  );
}

function head(authorization?: string, socket: object = {}): CallHead {
  const headers: IncomingHttpHeaders = authorization === undefined ? {} : { authorization };
  return { headers, socket: { remoteAddress: '10.0.0.9', ...socket } };
}

/** A connection whose peer presented a certificate. */
function presenting(cert: string, authorized = true): object {
  return { authorized, getPeerX509Certificate: () => new X509Certificate(cert) };
}

const jwt = (claims: Readonly<Record<string, unknown>> = {}) =>
  `Bearer ${makeJwt(signing, {
    iss: ISSUER.issuer,
    aud: 'lingpai',
    sub: 'orders',
    exp: Math.floor(clock.now() / 1000) + 60,
    ...claims,
  })}`;

async function refused(known: Authenticator, call: CallHead): Promise<Pick<LingpaiError, 'reason' | 'message'>> {
  try {
    await known.authenticate(call);
  } catch (error) {
    const { reason, message } = error as LingpaiError;
    return { reason, message };
  }
  throw new Error('it was believed');
}

describe('a key', () => {
  it('is known by its hash, at once, until it expires to the millisecond', async () => {
    const expires = clock.now() + 1_000;
    const one = makeKey('orders', { expires });
    const known = authenticator({ keys: keyFile(one) });
    const principal = known.authenticate(head(one.authorization)) as Principal;
    expect(principal).toEqual({ name: 'key:orders', method: 'key', credentialId: one.stored.id, expireTime: expires });
    expect(known.authenticate(head(`bearer ${one.key}`))).toBe(principal);
    await clock.advance(999);
    expect(known.fault(principal)).toBeUndefined();
    expect(known.authenticate(head(one.authorization))).toBe(principal);
    await clock.advance(1);
    expect(known.fault(principal)).toBe('CREDENTIALS_EXPIRED');
    expect((await refused(known, head(one.authorization))).reason).toBe('CREDENTIALS_EXPIRED');
    const whose = { caller: 'key:orders', keyId: one.stored.id };
    expect(failures).toEqual([{ method: 'key', cause: 'the key has expired', peer: '10.0.0.9', ...whose }]);
    expect(results).toEqual(['key ok', 'key ok', 'key ok', 'key expired']);
  });

  it('is good beside another of its name', () => {
    const [a, b] = [makeKey('orders'), makeKey('orders')];
    const known = authenticator({ keys: keyFile(a, b) });
    const ids = [a, b].map(({ authorization }) => (known.authenticate(head(authorization)) as Principal).credentialId);
    expect(ids).toEqual([a.stored.id, b.stored.id]);
    expect(known.keys).toEqual([a.stored, b.stored]);
  });

  it('with anything else than itself is refused in the same words, and the audit alone is told why', async () => {
    const one = makeKey('orders');
    const known = authenticator({ keys: keyFile(one) });
    const { key } = one;
    const swapped = key.replace(/[A-Za-z]$/, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase()));
    const bad: [string, string][] = [
      [makeKey('other').key, 'the key is unknown or revoked'],
      [key.slice(0, -1), 'the key is mistyped'],
      [`${key}a`, 'the key is mistyped'],
      [`${key} `, 'the key is mistyped'],
      [`${key},${key}`, 'the key is mistyped'],
      [`${key.slice(0, 20)}${key[20] === 'a' ? 'b' : 'a'}${key.slice(21)}`, 'the key is mistyped'],
      ['lingpai_', 'the key is mistyped'],
      ...(swapped === key ? [] : [[swapped, 'the key is mistyped'] as [string, string]]),
      [key.toUpperCase(), 'the bearer is neither a key nor a JWT'],
      [one.stored.hash, 'the bearer is neither a key nor a JWT'],
    ];
    const answers = [];
    for (const [text] of bad) answers.push(await refused(known, head(`Bearer ${text}`)));
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toEqual({ reason: 'CREDENTIALS_INVALID', message: 'the credentials are not accepted here' });
    expect(failures.map(({ cause }) => cause)).toEqual(bad.map(([, cause]) => cause));
    expect(JSON.stringify(failures)).not.toContain(key.slice(8, 20));
  });
});

describe('a bearer', () => {
  it.each([
    ['', 'no "Bearer CREDENTIAL"'],
    ['Bearer', 'no "Bearer CREDENTIAL"'],
    ['Bearer ', 'neither a key nor a JWT'],
    ['Basic dTpw', 'no "Bearer CREDENTIAL"'],
    ['Digest x', 'no "Bearer CREDENTIAL"'],
    ['xBearer abc', 'no "Bearer CREDENTIAL"'],
    ['Bearer a, Bearer b', 'neither a key nor a JWT'],
  ])('"%s" decides alone: a good certificate beside it helps nobody', async (authorization, cause) => {
    const known = authenticator();
    const call = head(authorization, presenting(leaf.cert));
    expect((await refused(known, call)).reason).toBe('CREDENTIALS_INVALID');
    expect(failures[0]?.cause).toContain(cause);
  });

  it('that expired or is unknown decides alone too, whether it is a key or a token', async () => {
    const [old, unknown] = [makeKey('a', { expires: clock.now() }), makeKey('b')];
    const known = authenticator({ keys: keyFile(old), tokens: [ISSUER] });
    const beside = presenting(leaf.cert);
    expect((await refused(known, head(old.authorization, beside))).reason).toBe('CREDENTIALS_EXPIRED');
    expect((await refused(known, head(unknown.authorization, beside))).reason).toBe('CREDENTIALS_INVALID');
    expect((await refused(known, head(jwt({ exp: 1 }), beside))).reason).toBe('CREDENTIALS_EXPIRED');
    expect((await refused(known, head(jwt({ aud: 'x' }), beside))).reason).toBe('CREDENTIALS_INVALID');
    expect(results).toEqual(['key expired', 'key invalid', 'token expired', 'token invalid']);
  });

  it('that comes beside another is refused, though both are good', async () => {
    const one = makeKey('a');
    const known = authenticator({ keys: keyFile(one) });
    const rawHeaders = ['host', 'x', 'Authorization', one.authorization, 'authorization', one.authorization];
    const call = { ...head(one.authorization), rawHeaders };
    expect((await refused(known, call)).reason).toBe('CREDENTIALS_INVALID');
    expect(failures[0]?.cause).toBe('there are several authorization headers');
    const value = ['x-a', 'authorization', 'authorization', one.authorization];
    expect(known.authenticate({ ...head(one.authorization), rawHeaders: value })).toMatchObject({ name: 'key:a' });
  });
});

describe('a token', () => {
  it('is a promise at first, and known at once from then on', async () => {
    const known = authenticator({ tokens: [ISSUER] });
    const authorization = jwt();
    const first = known.authenticate(head(authorization));
    expect(first).toBeInstanceOf(Promise);
    const principal = await first;
    expect(principal.name).toBe('jwt:prod/orders');
    expect(known.authenticate(head(authorization))).toBe(principal);
    expect(known.fault(principal)).toBeUndefined();
    expect(results).toEqual(['token ok', 'token ok']);
  });

  it('is told to come again while too many are being checked', async () => {
    const known = authenticator({ tokens: [ISSUER] });
    const begun = Array.from({ length: 512 }, (_, i) => known.authenticate(head(jwt({ jti: i }))));
    const error = await Promise.resolve()
      .then(() => known.authenticate(head(jwt({ jti: 'more' }))))
      .catch((refusal: LingpaiError) => refusal);
    expect(error).toMatchObject({ reason: 'CALLER_LIMITED', retryAfterMs: 1_000 });
    expect(results).toEqual(['token busy']);
    await Promise.all(begun);
  });
});

describe('a certificate', () => {
  it('counts where no bearer is presented', () => {
    const known = authenticator();
    const call = head(undefined, presenting(leaf.cert));
    const principal = known.authenticate(call) as Principal;
    expect(principal.name).toBe(PAY);
    expect(known.fault(principal)).toBeUndefined();
    Object.assign(call.socket ?? {}, { authorized: false });
    expect(known.fault(principal)).toBe('CREDENTIALS_INVALID');
    expect(results).toEqual(['certificate ok']);
  });

  it('that is not trusted is an invalid credential, and not a missing one', async () => {
    const known = authenticator();
    expect((await refused(known, head(undefined, presenting(leaf.cert, false)))).reason).toBe('CREDENTIALS_INVALID');
    expect(results).toEqual(['certificate invalid']);
  });
});

it('who presents nothing is told what to present', async () => {
  const known = authenticator();
  const none = { getPeerX509Certificate: () => undefined };
  for (const call of [head(), head(undefined, none), { headers: {}, socket: undefined }])
    expect(await refused(known, call)).toEqual({
      reason: 'CREDENTIALS_MISSING',
      message: 'this call needs credentials: send "authorization: Bearer KEY", or a client certificate',
    });
  expect(failures[0]).toEqual({ method: 'none', cause: 'no credentials were presented', peer: '10.0.0.9' });
  expect(results).toEqual(['none missing', 'none missing', 'none missing']);
});

it('local is never at fault', () => {
  expect(authenticator().fault(LOCAL)).toBeUndefined();
});

describe('new settings', () => {
  it('end revoked keys and let new ones in, and say which', async () => {
    const [stays, goes, comes] = [makeKey('a'), makeKey('b'), makeKey('c')];
    const known = authenticator({ keys: keyFile(stays, goes) });
    const [a, b] = [stays, goes].map(({ authorization }) => known.authenticate(head(authorization)) as Principal);
    const changes = known.reconfigure({ keys: keyFile(stays, comes), tokens: [] });
    expect(changes).toEqual({ added: [comes.stored], revoked: [goes.stored] });
    expect(a && known.fault(a)).toBeUndefined();
    expect(b && known.fault(b)).toBe('CREDENTIALS_INVALID');
    expect((await refused(known, head(goes.authorization))).reason).toBe('CREDENTIALS_INVALID');
    expect(known.authenticate(head(comes.authorization))).toMatchObject({ name: 'key:c' });
    expect(known.reconfigure({ keys: null, tokens: [] }).revoked).toHaveLength(2);
    expect(a && known.fault(a)).toBe('CREDENTIALS_INVALID');
  });

  it('that give a key an end hold for those that it let in before', async () => {
    const one = makeKey('a');
    const known = authenticator({ keys: keyFile(one) });
    const principal = known.authenticate(head(one.authorization)) as Principal;
    const ending = { stored: { ...one.stored, expires: clock.now() + 10 } };
    known.reconfigure({ keys: keyFile(ending), tokens: [] });
    expect(known.fault(principal)).toBeUndefined();
    await clock.advance(10);
    expect(known.fault(principal)).toBe('CREDENTIALS_EXPIRED');
  });

  it('end the tokens of an issuer that is gone or was changed, and no others', async () => {
    const other: IssuerSettings = { ...ISSUER, name: 'test', issuer: 'https://test.example' };
    const known = authenticator({ tokens: [ISSUER, other] });
    const a = await known.authenticate(head(jwt()));
    const b = await known.authenticate(head(jwt({ iss: other.issuer })));
    known.reconfigure({ keys: null, tokens: [{ ...ISSUER }, { ...other, audience: 'x' }] });
    expect(known.fault(a)).toBeUndefined();
    expect(known.fault(b)).toBe('CREDENTIALS_INVALID');
    known.reconfigure({ keys: null, tokens: [] });
    expect(known.fault(a)).toBe('CREDENTIALS_INVALID');
  });

  it('keep what an unchanged issuer has fetched, and ask a gone one no more', async () => {
    const at = (url: string): IssuerSettings => ({ ...ISSUER, jwks: { url, ca: null, tokenFile: null } });
    const known = authenticator({ tokens: [at('https://a')] });
    await settle();
    known.reconfigure({ keys: null, tokens: [at('https://a')] });
    await settle();
    expect(fetches).toEqual(['https://a']);
    await clock.advance(300_000);
    expect(fetches).toEqual(['https://a', 'https://a']);
    known.reconfigure({ keys: null, tokens: [at('https://b')] });
    await clock.advance(300_000);
    expect(fetches.slice(2)).toEqual(['https://b', 'https://b']);
    known[Symbol.dispose]();
    expect(clock.pending).toBe(0);
  });

  it('that are wrong change nothing, and begin nothing', async () => {
    const one = makeKey('a');
    const known = authenticator({ keys: keyFile(one) });
    const good = { keys: null, tokens: [] };
    const url = { url: 'https://a', ca: null, tokenFile: null };
    const tokens = [
      { ...ISSUER, jwks: url },
      { ...ISSUER, jwks: { text: '{' } },
    ];
    expect(() => known.reconfigure({ ...good, keys: '{' })).toThrow('line 1 is not JSON');
    expect(() => known.reconfigure({ ...good, tokens })).toThrow('the jwks of the issuer "prod" is not JSON');
    await settle();
    expect([fetches, clock.pending]).toEqual([[], 0]);
    expect(known.authenticate(head(one.authorization))).toMatchObject({ name: 'key:a' });
  });
});
