import { expect, it } from 'vitest';
import { createAccess } from '../../src/app/access.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { LOCAL, type Principal } from '../../src/core/access/principal.ts';
import { FakeClock } from '../support/clock.ts';

const caller = (name: string): Principal => ({ name, method: 'key', credentialId: null, expireTime: null });

async function config(access?: object | 'open'): Promise<Config> {
  const text = JSON.stringify({ ...(access && { access }), apps: [{ app_id: 'wx1', secret: 's' }] });
  return await loadConfig('lingpai.yaml', {}, { read: async () => text });
}

const rules = (may: string, limits = {}) => ({ rules: [{ who: ['*'], may: [may], apps: ['*'] }], limits });

it('rules and limits are those of the newest configuration, and what is open goes on to count', async () => {
  const access = createAccess(await config(rules('read')), new FakeClock());
  const a = caller('dns:a');
  expect(access.mode).toBe('rules');
  expect([access.policy.may(a, 'read', 'wx1'), access.policy.may(a, 'send', 'wx1')]).toEqual([true, false]);
  access.limiter.open('dns:a');
  const before = access.policy;
  access.take(await config(rules('send', { calls: 1, streams: 1 })));
  expect([access.policy.may(a, 'read', 'wx1'), access.policy.may(a, 'send', 'wx1')]).toEqual([false, true]);
  expect(before.may(a, 'read', 'wx1')).toBe(true);
  expect(access.limiter.open('dns:a')).toBeUndefined();
  expect([access.limiter.call('dns:a'), access.limiter.call('dns:a')]).toEqual([0, 1000]);
});

it('how callers are treated stays: a reload cannot turn rules into nothing, nor the other way', async () => {
  const ruled = createAccess(await config(rules('read')), new FakeClock());
  for (const next of [await config(), await config('open')]) {
    ruled.take(next);
    expect(ruled.policy.may(caller('dns:a'), 'send', 'wx1')).toBe(false);
    expect(ruled.policy.may(LOCAL, 'read', 'wx1')).toBe(false);
  }
  for (const [mode, first] of [['local', undefined] as const, ['open', 'open'] as const]) {
    const free = createAccess(await config(first), new FakeClock());
    expect(free.mode).toBe(mode);
    free.take(await config(rules('read', { calls: 1 })));
    expect(free.policy.may(LOCAL, 'admin', 'wx1')).toBe(true);
    expect([free.limiter.call('local'), free.limiter.call('local')]).toEqual([0, 0]);
  }
});
