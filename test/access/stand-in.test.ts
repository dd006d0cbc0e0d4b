import { createPublicKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { parseStandIn, STAND_IN_PREFIX, StandIns, signStandIn, unsignedStandIn } from '../../src/access/stand-in.ts';
import { makeKey } from '../support/access-key.ts';

const APP = 'wx0123456789abcdef';
const orders = makeKey('orders');
const crm = makeKey('crm');
const keyOf = (id: string) => [orders, crm].find(({ stored }) => stored.id === id)?.stored;
const standIn = signStandIn(orders.key, orders.stored.id, APP);
const bytesOf = (text: string) => Buffer.from(text.slice(STAND_IN_PREFIX.length), 'base64url');
const textOf = (bytes: Buffer) => STAND_IN_PREFIX + bytes.toString('base64url');

it('is the same each time, says its app and its key, and is good by the public half alone', () => {
  const standIns = new StandIns();
  expect(standIns.sign(orders.key, orders.stored.id, APP)).toBe(standIn);
  expect(standIn).toMatch(/^lps1\.[A-Za-z0-9_-]+$/);
  expect(standIn.length).toBeLessThan(200);
  expect(standIns.verify(standIn, (id) => ({ public: keyOf(id)?.public ?? '' }))).toMatchObject({
    kind: 'key',
    appId: APP,
    keyId: orders.stored.id,
  });
});

it('holds nothing of the key or its hash', () => {
  const bytes = bytesOf(standIn);
  expect(bytes.includes(Buffer.from(orders.stored.hash, 'hex').subarray(6))).toBe(false);
  expect(bytes.includes(orders.key.slice(8, 24))).toBe(false);
});

describe('is not believed', () => {
  const refused = (text: string) => expect(new StandIns().verify(text, keyOf), text).toBeUndefined();

  it('where it says another app, another key, or is signed by another one', () => {
    const bytes = bytesOf(standIn);
    const head = bytes.subarray(0, 71);
    refused(textOf(Buffer.concat([head, Buffer.from('wx0123456789abcdee')])));
    refused(textOf(Buffer.concat([head, Buffer.from('wx')])));
    const theirs = Buffer.from(bytes);
    theirs.set(Buffer.from(crm.stored.id, 'hex'), 1);
    refused(textOf(theirs));
    refused(signStandIn(crm.key, orders.stored.id, APP));
    refused(signStandIn(makeKey('stranger').key, orders.stored.id, APP));
  });

  it('where the key is not in the key file', () => {
    expect(new StandIns().verify(standIn, () => undefined)).toBeUndefined();
    expect(new StandIns().verify(standIn, () => ({ public: crm.stored.public }))).toBeUndefined();
  });

  it('with any bit changed, and cut or grown at any place', () => {
    const bytes = bytesOf(standIn);
    for (let at = 0; at < bytes.length * 8; at++) {
      const changed = Buffer.from(bytes);
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7));
      const said = new StandIns().verify(textOf(changed), keyOf);
      // The kind is no secret: what is unsigned gives no right.
      expect(said?.kind === 'key', `bit ${at}`).toBe(false);
      if (said) expect(at).toBeLessThan(8);
    }
    for (let length = 0; length < standIn.length; length++) refused(standIn.slice(0, length));
    refused(`${standIn}A`);
    refused(`${standIn}=`);
    refused(` ${standIn}`);
  });

  it('written in another way', () => {
    const last = standIn.at(-1) ?? '';
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    for (const other of alphabet) if (other !== last) refused(standIn.slice(0, -1) + other);
    refused(standIn.replace(/.(?=.{3}$)/, '$&!'));
    refused(standIn.replace('lps1.', 'LPS1.'));
    refused(bytesOf(standIn).toString('base64'));
  });

  it('with an s that is the same modulo the order of the curve', () => {
    // Who takes it would know a second way to write each stand-in.
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const bytes = bytesOf(standIn);
    let s = order;
    for (let i = 0; i < 32; i++) s += BigInt(bytes[39 + i] ?? 0) << BigInt(8 * i);
    for (let i = 0; i < 32; i++) bytes[39 + i] = Number((s >> BigInt(8 * i)) & 255n);
    refused(textOf(bytes));
  });

  it.each(['', 'lps1.', 'lps1.AA', 'x', `lps1.${'A'.repeat(1_000_000)}`])('as %.20s', (text) => refused(text));
});

it.each(['local', 'certificate'] as const)('unsigned, of kind %s, says its app and nothing of who bears it', (kind) => {
  const text = unsignedStandIn(kind, 'a');
  expect(parseStandIn(text)).toEqual({ kind, appId: 'a' });
  expect(new StandIns().verify(text, keyOf)).toEqual({ kind, appId: 'a' });
  expect(unsignedStandIn(kind, 'a'.repeat(64))).toMatch(/^lps1\./);
  expect(parseStandIn(unsignedStandIn(kind, 'a'.repeat(65)))).toBeUndefined();
  expect(parseStandIn(unsignedStandIn(kind, 'wx 1'))).toBeUndefined();
});

describe('what was found good is kept', () => {
  it('by its hash, so that it is not checked again, until the key file has another key of that id', () => {
    const standIns = new StandIns();
    const verified = () => standIns.verify(standIn, keyOf);
    const first = verified();
    expect(verified()).toBe(first);
    expect(standIns.verify(standIn, () => undefined)).toBeUndefined();
    expect(standIns.verify(standIn, () => ({ public: crm.stored.public }))).toBeUndefined();
    expect(verified()).toBe(first);
  });

  it('what was not found good is not', () => {
    const standIns = new StandIns();
    for (let i = 0; i < 100; i++) standIns.verify(`lps1.${randomBytes(80).toString('base64url')}`, keyOf);
    expect(standIns.kept).toBe(0);
  });

  it('within a bound, the least used is forgotten', () => {
    const standIns = new StandIns(2);
    const texts = ['a', 'b', 'c'].map((appId) => standIns.sign(orders.key, orders.stored.id, appId));
    expect(standIns.kept).toBe(2);
    const [a = '', b = '', c = ''] = texts;
    const verified = (text: string) => standIns.verify(text, keyOf);
    const firsts = [a, b].map(verified);
    expect(verified(a)).toBe(firsts[0]);
    expect(verified(c)).toBeDefined();
    expect(standIns.kept).toBe(4);
    expect(verified(a)).toBe(firsts[0]);
    expect(verified(b)).not.toBe(firsts[1]);
  });
});

it('a public half of the key file is that of an Ed25519 key', () => {
  const x = orders.stored.public;
  expect(createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }).asymmetricKeyType).toBe('ed25519');
});
