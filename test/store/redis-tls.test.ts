import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { RedisServer } from '../support/redis.ts';
import { MEMBER, openRedis, reconnection } from './redis-support.ts';

/** A certificate of 127.0.0.1, signed by itself, and its key: for tests alone. */
const CERT = join(import.meta.dirname, 'tls/cert.pem');
const KEY = join(import.meta.dirname, 'tls/key.pem');

const trusted = getCACertificates();
let server: RedisServer;
let port: number;

beforeAll(async () => {
  port = await freePort();
  const files = ['--tls-cert-file', CERT, '--tls-key-file', KEY, '--tls-auth-clients', 'no'];
  server = await RedisServer.start(['--tls-port', String(port), ...files]);
});
afterAll(() => server[Symbol.asyncDispose]());

function trust(...more: string[]): void {
  setDefaultCACertificates([...trusted, ...more]);
  onTestFinished(() => setDefaultCACertificates(trusted));
}

test('rediss: commands and hints go over TLS to a server whose certificate is trusted', async () => {
  trust(readFileSync(CERT, 'utf8'));
  const { shared } = await openRedis(`rediss://127.0.0.1:${port}/1?prefix=t:`);
  onTestFinished(() => shared.close());
  const told = new Promise((resolve) => shared.listen({ changed: resolve, reconnected: () => undefined }));
  expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
  await server.command('PUBLISH t:changed wx1');
  expect(await told).toBe('wx1');
});

test('rediss: a lost connection is made again over TLS', async () => {
  trust(readFileSync(CERT, 'utf8'));
  const { shared } = await openRedis(`rediss://127.0.0.1:${port}`);
  onTestFinished(() => shared.close());
  const reconnected = reconnection((listener) => shared.listen(listener));
  await server.command('CLIENT KILL TYPE normal SKIPME yes');
  await reconnected;
  expect(await shared.poll(MEMBER, 0)).toMatchObject({ members: [MEMBER] });
});

test.each([
  ['a certificate that nobody trusts', () => `rediss://127.0.0.1:${port}`, /is not trusted.*NODE_EXTRA_CA_CERTS/],
  ['a server that speaks no TLS', () => `rediss://127.0.0.1:${server.port}`, /write "redis:/],
  ['a server that speaks TLS alone', () => `redis://127.0.0.1:${port}`, /with TLS write "rediss:/],
])('%s is refused with a sentence', async (_, url, words) => {
  await expect(openRedis(url())).rejects.toThrow(words);
});

test('a certificate of another host is refused with a sentence', async () => {
  trust(readFileSync(CERT, 'utf8'));
  await expect(openRedis(`rediss://localhost:${port}`)).rejects.toThrow(/certificate of another host/);
});
