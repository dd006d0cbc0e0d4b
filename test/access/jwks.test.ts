import { beforeEach, describe, expect, it } from 'vitest';
import { adviseOnJwks, COOLDOWN_MS, FETCH_TIMEOUT_MS, Jwks, REFRESH_MS } from '../../src/access/jwks.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { jwksText, makeSigningKey } from '../support/jwt.ts';

const [one, two] = [makeSigningKey('one'), makeSigningKey('two')];
const address = { url: 'https://issuer.example/jwks', ca: null, tokenFile: null };

let clock: FakeClock;
let answers: (() => Promise<string>)[];
let asked: number;
let told: (string | undefined)[];
let signals: AbortSignal[];
beforeEach(() => {
  clock = new FakeClock();
  answers = [];
  asked = 0;
  told = [];
  signals = [];
});

function fetched(): Jwks {
  return new Jwks(address, {
    clock,
    fetchJwks: (_, signal) => {
      asked++;
      signals.push(signal);
      return (answers.shift() ?? (() => Promise.reject(new Error('away'))))();
    },
    onFetch: (error) => told.push(error),
  });
}

describe('the keys of an issuer', () => {
  it('are asked for at once, and the last good ones stay for as long as no newer ones come', async () => {
    answers = [async () => jwksText(one)];
    const jwks = fetched();
    await settle();
    expect(jwks.find('one')).toBeDefined();
    // Away for a week.
    await clock.advance(7 * 86_400_000);
    expect(jwks.find('one')).toBeDefined();
    expect(told.slice(0, 2)).toEqual([undefined, 'away']);
    expect(asked).toBe(1 + (7 * 86_400_000) / REFRESH_MS);
    answers = [async () => jwksText(two)];
    await clock.advance(REFRESH_MS);
    expect(jwks.find('one')).toBeUndefined();
    expect(jwks.find('two')).toBeDefined();
  });

  it.each([
    ['no JSON', '<html>'],
    ['no list', '{}'],
    ['an empty list', '{"keys":[]}'],
    ['null', 'null'],
    ['no objects', '{"keys":[1]}'],
    ['a secret', '{"keys":[{"kty":"oct","kid":"a","k":"AAAA"}]}'],
    ['no kid', '{"keys":[{"kty":"RSA"}]}'],
    ['too many', JSON.stringify({ keys: Array(101).fill(one.jwk) })],
  ])('stay where %s comes in their place', async (_, text) => {
    answers = [async () => jwksText(one), async () => text];
    const jwks = fetched();
    await settle();
    await clock.advance(REFRESH_MS);
    expect(asked).toBe(2);
    expect(jwks.find('one')).toBeDefined();
    expect(told[1]).toMatch(/^(is|has) /);
    expect(adviseOnJwks(text)).toBe(told[1]);
  });

  it('are asked for by one at a time, and again only after a pause, counted also after a failure', async () => {
    const slow = Promise.withResolvers<string>();
    answers = [() => slow.promise];
    const jwks = fetched();
    expect(jwks.renewed()).toBeInstanceOf(Promise);
    expect(jwks.renewed()).toBe(jwks.renewed());
    expect(asked).toBe(1);
    slow.reject(new Error('away'));
    await settle();
    expect(jwks.renewed()).toBeUndefined();
    await clock.advance(COOLDOWN_MS - 1);
    expect(jwks.renewed()).toBeUndefined();
    expect(asked).toBe(1);
    // Without any keys it asks by itself.
    await clock.advance(1);
    expect(asked).toBe(2);
  });

  it('are asked for again by whoever needs another key, and the pause begins with that', async () => {
    answers = [async () => jwksText(one), async () => jwksText(one, two)];
    const jwks = fetched();
    await clock.advance(COOLDOWN_MS);
    await jwks.renewed();
    expect(jwks.find('two')).toBeDefined();
    expect(jwks.renewed()).toBeUndefined();
    await clock.advance(REFRESH_MS - 1);
    expect(asked).toBe(2);
    await clock.advance(1);
    expect(asked).toBe(3);
  });

  it('are not waited for without end', async () => {
    answers = [
      () => new Promise((_, reject) => signals[0]?.addEventListener('abort', () => reject(signals[0]?.reason))),
    ];
    const jwks = fetched();
    const waited = jwks.renewed();
    await clock.advance(FETCH_TIMEOUT_MS);
    await waited;
    expect(told).toEqual(['no answer within 5 s']);
  });

  it('are asked for no more once they are not needed', async () => {
    answers = [async () => jwksText(one)];
    const jwks = fetched();
    await settle();
    jwks[Symbol.dispose]();
    expect(clock.pending).toBe(0);
    await clock.advance(REFRESH_MS);
    expect(jwks.renewed()).toBeUndefined();
    expect(asked).toBe(1);
  });

  it('that come after that are thrown away', async () => {
    const slow = Promise.withResolvers<string>();
    answers = [() => slow.promise];
    const jwks = fetched();
    jwks[Symbol.dispose]();
    expect(signals[0]?.aborted).toBe(true);
    slow.resolve(jwksText(one));
    await settle();
    expect([jwks.find('one'), told, clock.pending]).toEqual([undefined, [], 0]);
  });

  it('that are a text are there at once, and are never asked for', async () => {
    const deps = { clock, fetchJwks: () => Promise.reject(new Error('no')), onFetch: () => undefined };
    const jwks = new Jwks({ text: jwksText(one) }, deps);
    expect(jwks.find('one')).toBeDefined();
    expect(jwks.renewed()).toBeUndefined();
    expect(clock.pending).toBe(0);
    expect(() => new Jwks({ text: '{' }, deps)).toThrow('is not JSON; put there what the issuer serves');
  });
});
