import { expect, it } from 'vitest';
import { createAccess } from '../../src/app/access.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { LOCAL, type Principal } from '../../src/core/access/principal.ts';
import type { Verb } from '../../src/core/access/verbs.ts';
import { createLogger } from '../../src/ops/log.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { FakeClock } from '../support/clock.ts';

async function config(access?: object | 'open', keys = ''): Promise<Config> {
  const text = JSON.stringify({ ...(access && { access }), apps: [{ app_id: 'wx1', secret: 's' }] });
  const read = async (path: string) => (path.endsWith('lingpai.keys') ? keys : text);
  return await loadConfig('lingpai.yaml', {}, { read });
}

function inUse(first: Config) {
  const count = { believed: 0, refused: 0, denied: 0, limited: 0 };
  const metrics = {
    believed: () => void count.believed++,
    refused: () => void count.refused++,
    denied: () => void count.denied++,
    limited: () => void count.limited++,
  };
  const clock = new FakeClock();
  const audit = { record() {}, writable: true };
  const logger = createLogger({ level: 'silent' });
  const access = createAccess(first, { clock, audit, metrics, logger, pause: async () => {} });
  const may = (caller: Principal, verb: Verb) => access.access.may({ caller, peer: '' }, verb, 'wx1');
  return { access, may, count };
}

const caller = (name: string): Principal => ({ name, method: 'key', credentialId: null, expireTime: null });
const rules = (may: string, limits = {}) => ({ rules: [{ who: ['*'], may: [may], apps: ['*'] }], limits });
const a = caller('dns:a');
const peer = () => '';

it('rules and limits are those of the newest configuration, and are counted', async () => {
  const { access, may, count } = inUse(await config(rules('read')));
  expect(access.mode).toBe('rules');
  expect([may(a, 'read'), may(a, 'send')]).toEqual([true, false]);
  access.take(await config(rules('send', { calls: 1, streams: 1 })));
  expect([may(a, 'read'), may(a, 'send')]).toEqual([false, true]);
  access.access.admit(a, peer);
  expect(() => access.access.admit(a, peer)).toThrow(expect.objectContaining({ reason: 'CALLER_LIMITED' }));
  expect(() => access.access.require({ caller: a, peer: '' }, 'read', 'wx1')).toThrow();
  expect(count).toEqual({ believed: 0, refused: 0, denied: 1, limited: 1 });
});

it('callers are known by the key file of the newest configuration', async () => {
  const key = makeKey('orders');
  const withKeys = { ...rules('read'), keys: 'lingpai.keys' };
  const { access, count } = inUse(await config(withKeys, keyFile(key)));
  const head = { path: '/', headers: { authorization: key.authorization }, socket: undefined };
  expect(access.authenticate?.(head)).toMatchObject({ name: 'key:orders', credentialId: key.stored.id });
  expect(access.keys).toMatchObject([{ caller: 'key:orders', id: key.stored.id }]);
  access.take(await config(withKeys, '# none'));
  expect(() => access.authenticate?.(head)).toThrow(expect.objectContaining({ reason: 'CREDENTIALS_INVALID' }));
  expect(access.keys).toEqual([]);
  expect(count).toMatchObject({ believed: 1, refused: 1 });
});

it('who is blocked is counted as refused', async () => {
  const key = makeKey('orders');
  const settings = { ...rules('read'), keys: 'lingpai.keys', blocked: ['key:orders'] };
  const { access, count } = inUse(await config(settings, keyFile(key)));
  access.authenticate?.({ path: '/', headers: { authorization: key.authorization }, socket: undefined });
  expect(count).toMatchObject({ believed: 0, refused: 1 });
});

it('how callers are treated stays: a reload cannot turn rules into nothing, nor the other way', async () => {
  const ruled = inUse(await config(rules('read')));
  for (const next of [await config(), await config('open')]) {
    ruled.access.take(next);
    expect([ruled.may(a, 'send'), ruled.may(LOCAL, 'read')]).toEqual([false, false]);
  }
  for (const [mode, first] of [['local', undefined] as const, ['open', 'open'] as const]) {
    const { access, may } = inUse(await config(first));
    expect([access.mode, access.authenticate]).toEqual([mode, undefined]);
    access.take(await config(rules('read', { calls: 1 })));
    expect(may(LOCAL, 'admin')).toBe(true);
    for (let i = 0; i < 3; i++) access.access.admit(LOCAL, peer);
  }
});
