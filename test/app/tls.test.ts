import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Listeners, startListeners } from '../../src/app/listeners.ts';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { Access } from '../../src/core/access/access.ts';
import { createLogger } from '../../src/ops/log.ts';
import { createMetrics, type Metrics } from '../../src/ops/metrics.ts';
import { issue } from '../support/certificates.ts';
import { FakeClock } from '../support/clock.ts';

const DAY_MS = 86_400_000;
const NOW = Math.floor(Date.now() / 1000) * 1000;
const first = { ...issue({ name: 'first', notAfter: NOW + DAY_MS }), clientCa: null };
const second = { ...issue({ name: 'second' }), clientCa: null };

let listeners: Listeners;
let metrics: Metrics;
let log: Record<string, unknown>[];

async function serve(tls: Config['tls']): Promise<void> {
  const text = JSON.stringify({
    grpc: { listen: '127.0.0.1:0' },
    http: { listen: '127.0.0.1:0' },
    apps: [{ app_id: 'wxa', secret: 's' }],
  });
  const config = { ...(await loadConfig('config', {}, { read: async () => text })), tls };
  const clock = new FakeClock(NOW);
  metrics = createMetrics({ states: () => [], watchers: () => 0, cluster: () => undefined, now: () => clock.now() });
  const destination = { write: (line: string) => void log.push(JSON.parse(line)) };
  const logger = createLogger({ level: 'info', destination });
  listeners = await startListeners({
    config,
    logger,
    metrics,
    clock,
    services: [],
    states: () => [],
    pause: async () => {},
    report: () => {},
    access: Access.open(clock),
  });
}

function take(tls: Config['tls']): void {
  listeners.prepareTls(tls)();
}

function thrown(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    return String(error);
  }
  return expect.fail('nothing was thrown');
}

/** The names of the certificates of both listeners. */
function served(): Promise<string[]> {
  const names = [listeners.grpc, listeners.http].map(({ address }) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const socket = connect(
      { host: '127.0.0.1', port: Number(address.split(':')[1]), rejectUnauthorized: false },
      () => {
        resolve(String(socket.getPeerX509Certificate()?.subject));
        socket.destroy();
      },
    );
    socket.once('error', reject);
    return promise;
  });
  return Promise.all(names);
}

/** The series of TLS. */
async function counted(): Promise<string[]> {
  const text = new TextDecoder().decode(await metrics.text());
  return text.split('\n').filter((line) => line.startsWith('lingpai_tls'));
}

beforeEach(() => {
  log = [];
});

afterEach(() => listeners.stop());

it('another certificate is taken into use by both listeners, and told', async () => {
  await serve(first);
  const expires = ({ cert }: { cert: string }) =>
    `lingpai_tls_certificate_expires_seconds ${(new X509Certificate(cert).validToDate.getTime() - NOW) / 1000}`;
  const reloads = (ok: number, failed: number) => [
    `lingpai_tls_reloads_total{result="ok"} ${ok}`,
    `lingpai_tls_reloads_total{result="failed"} ${failed}`,
  ];
  expect(await counted()).toEqual([...reloads(0, 0), expires(first)]);
  take({ ...first });
  expect(await counted()).toEqual([...reloads(0, 0), expires(first)]);
  take(second);
  expect(await served()).toEqual(['CN=second', 'CN=second']);
  expect(await counted()).toEqual([...reloads(1, 0), expires(second)]);
  expect(log.map(({ msg }) => msg)).toEqual(['certificate reloaded']);
});

it.each([
  ['a key of another', { ...second, key: first.key }, 'the key is not that of the certificate'],
  ['half a file', { ...second, cert: second.cert.slice(0, 99) }, 'the certificate file has something in it'],
])('%s is refused and counted, without a word of it, before anything is taken', async (_, tls, words) => {
  await serve(first);
  const message = thrown(() => listeners.prepareTls(tls));
  expect(message).toContain(words);
  expect(message).not.toMatch(/BEGIN|PRIVATE/);
  expect(await served()).toEqual(['CN=first', 'CN=first']);
  expect((await counted())[1]).toBe('lingpai_tls_reloads_total{result="failed"} 1');
  take(second);
  expect(await served()).toEqual(['CN=second', 'CN=second']);
});

it('where there was no TLS at the start there is none, and no series of a certificate', async () => {
  await serve('off');
  take(first);
  await expect(served()).rejects.toThrow();
  expect(await counted()).toHaveLength(2);
  expect(log).toEqual([]);
});

it('where there was TLS it stays, whatever is written', async () => {
  await serve(first);
  for (const tls of ['off', null] as const) take(tls);
  expect(await served()).toEqual(['CN=first', 'CN=first']);
});
