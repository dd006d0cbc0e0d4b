import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import type { Method } from '../../src/core/access/principal.ts';
import { registerAccessMetrics } from '../../src/ops/access-metrics.ts';
import { FakeClock } from '../support/clock.ts';

function setup() {
  const clock = new FakeClock();
  const registry = new Registry();
  const metrics = registerAccessMetrics(registry, () => clock.now());
  /** The samples of a metric; without those at 0, unless `all` are wanted. */
  const samples = async (name: string, all = false) =>
    (await registry.metrics())
      .split('\n')
      .filter((line) => line.startsWith(`lingpai_${name}`))
      .filter((line) => all || !line.endsWith(' 0'))
      .map((line) => line.slice(`lingpai_${name}`.length));
  return { clock, metrics, samples };
}

const principal = (method: Method, credentialId: string | null = null) => {
  return { name: 'key:orders', method, credentialId, expireTime: null };
};
const KEY = { caller: 'key:orders', id: 'aaaaaaaaaaaa', expireTime: null };

it('authentications are counted by method and result, and what is alerted on begins at 0', async () => {
  const { metrics, samples } = setup();
  expect(await samples('authentications_total', true)).toHaveLength(10);
  for (const method of ['local', 'key', 'key', 'certificate', 'token'] as const) metrics.believed(principal(method));
  metrics.refused('none', 'missing');
  metrics.refused('key', 'invalid');
  metrics.refused('token', 'expired');
  const expected = [
    '{method="none",result="missing"} 1',
    '{method="key",result="ok"} 2',
    '{method="key",result="invalid"} 1',
    '{method="certificate",result="ok"} 1',
    '{method="token",result="ok"} 1',
    '{method="token",result="expired"} 1',
    '{method="local",result="ok"} 1',
  ];
  expect(await samples('authentications_total')).toEqual(expected);
  // A scrape counts nothing.
  expect(await samples('authentications_total')).toEqual(expected);
});

it('a caller is known by the entry of `who` that names it, or the longest that has it by a *', async () => {
  const { metrics, samples } = setup();
  metrics.configure(['key:orders', 'spiffe://prod/*', 'spiffe://prod/ns/pay/*', 'key:*'], []);
  const callers = ['key:orders', 'key:orders2', 'spiffe://prod/ns/pay/a', 'spiffe://prod/ns/pay', 'dns:evil', 'local'];
  for (const caller of callers) metrics.denied(caller, 'read');
  metrics.limited('key:orders');
  expect(await samples('access_denied_total')).toEqual([
    '{caller="other",verb="read"} 2',
    '{caller="key:orders",verb="read"} 1',
    '{caller="spiffe://prod/*",verb="read"} 1',
    '{caller="spiffe://prod/ns/pay/*",verb="read"} 1',
    '{caller="key:*",verb="read"} 1',
  ]);
  expect(await samples('caller_limited_total', true)).toHaveLength(5);
});

it('no caller makes a series', async () => {
  const { metrics, samples } = setup();
  metrics.configure(['key:*'], []);
  for (let i = 0; i < 25_000; i++) {
    metrics.denied(`key:${i}`, 'read');
    metrics.denied(`jwt:x/"} 1\n${i}`, 'read');
    metrics.limited(`dns:${i}`);
  }
  expect(await samples('access_denied_total')).toEqual([
    '{caller="other",verb="read"} 25000',
    '{caller="key:*",verb="read"} 25000',
  ]);
  expect(await samples('caller_limited_total')).toEqual(['{caller="other"} 25000']);
});

it('the series of entries and keys that are configured no more vanish, those of others go on', async () => {
  const { clock, metrics, samples } = setup();
  const other = { ...KEY, id: 'bbbbbbbbbbbb', expireTime: clock.now() + 5_000 };
  metrics.configure(['key:orders', 'key:old'], [KEY, other]);
  for (const caller of ['key:orders', 'key:old']) metrics.denied(caller, 'send');
  for (const { id } of [KEY, other]) metrics.believed(principal('key', id));
  metrics.configure(['key:orders'], [KEY]);
  expect(await samples('access_denied_total')).toEqual(['{caller="key:orders",verb="send"} 1']);
  expect(await samples('caller_limited_total', true)).toEqual(['{caller="other"} 0', '{caller="key:orders"} 0']);
  const used = `{caller="key:orders",key_id="aaaaaaaaaaaa"} ${clock.now() / 1000}`;
  expect(await samples('key_last_used_timestamp_seconds')).toEqual([used]);
  expect(await samples('key_expires_seconds', true)).toEqual([]);
  // Back again, nothing is known of what it was.
  metrics.configure(['key:orders', 'key:old'], [KEY, other]);
  expect(await samples('access_denied_total')).toEqual(['{caller="key:orders",verb="send"} 1']);
  expect(await samples('key_last_used_timestamp_seconds')).toEqual([used]);
});

it('keys: when they were used last, and how long they last', async () => {
  const { clock, metrics, samples } = setup();
  const start = clock.now();
  metrics.configure([], [KEY, { caller: 'key:pay', id: 'bbbbbbbbbbbb', expireTime: start + 90_000 }]);
  expect(await samples('key_last_used_timestamp_seconds', true)).toEqual([]);
  await clock.advance(30_000);
  metrics.believed(principal('key', 'bbbbbbbbbbbb'));
  // A credential of another kind, and a key that is not known.
  metrics.believed(principal('certificate', 'aaaaaaaaaaaa'));
  metrics.believed(principal('key', 'cccccccccccc'));
  const labels = '{caller="key:pay",key_id="bbbbbbbbbbbb"}';
  expect(await samples('key_last_used_timestamp_seconds')).toEqual([`${labels} ${(start + 30_000) / 1000}`]);
  expect(await samples('key_expires_seconds', true)).toEqual([`${labels} 60`]);
  await clock.advance(90_000);
  expect(await samples('key_expires_seconds', true)).toEqual([`${labels} 0`]);
});

it('lines of the audit log that are lost are counted, from 0', async () => {
  const { metrics, samples } = setup();
  expect(await samples('audit_lost_total', true)).toEqual([' 0']);
  metrics.auditLost(3);
  metrics.auditLost(1);
  expect(await samples('audit_lost_total')).toEqual([' 4']);
});
