import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { load } from '../../src/app/load.ts';
import { keepingKeys, withNewKeys } from '../../src/app/reload.ts';
import { type Running, runBroker } from '../../src/app/run.ts';
import type { AccessConfig, Config, TlsConfig } from '../../src/config/config.ts';
import { createLogger } from '../../src/ops/log.ts';
import { ONE, TWO } from '../config/pem.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { issue } from '../support/certificates.ts';
import { framed, outcome, RawConnection } from '../support/raw-http2.ts';

const key = makeKey('orders');
const logger = createLogger({ level: 'silent' });
let folder: string;
let running: Running | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-reload-'));
});
afterEach(async () => {
  await running?.stop();
  running = undefined;
  await rm(folder, { recursive: true });
});

/** A configuration in which `key:orders` may do this. */
async function configured(may: string, more: object = {}): Promise<Config> {
  await writeFile(join(folder, 'cert'), ONE.cert);
  await writeFile(join(folder, 'key'), ONE.key, { mode: 0o600 });
  await writeFile(join(folder, 'lingpai.keys'), keyFile(key));
  const listen = { listen: '127.0.0.1:0' };
  const settings = {
    grpc: listen,
    http: listen,
    store: { url: 'memory:' },
    upstream: { base_url: 'http://127.0.0.1:1' },
    tls: { cert: 'cert', key: 'key' },
    access: { keys: 'lingpai.keys', rules: [{ who: ['key:orders'], may: [may], apps: ['*'] }] },
    audit: { to: 'off' },
    apps: [{ app_id: 'wx1', secret: 's' }],
    ...more,
  };
  const path = join(folder, 'lingpai.yaml');
  await writeFile(path, JSON.stringify(settings));
  return await load(path);
}

/** The status of a call that needs `admin`, and the name in the certificate that is served. */
async function seen(): Promise<unknown[]> {
  using raw = new RawConnection(running?.grpc ?? '', undefined, { rejectUnauthorized: false });
  const { authorization } = key;
  const { fields } = await raw.call('/lingpai.v1.AdminService/ListCallers', framed(Buffer.alloc(0)), { authorization });
  return [fields['grpc-status'], (raw.session.socket as TLSSocket).getPeerCertificate().subject.CN];
}

const renewed = { cert: TWO.cert, key: TWO.key, clientCa: null };

it('another configuration is taken whole', async () => {
  running = await runBroker(await configured('admin'), logger);
  expect(await seen()).toEqual(['0', 'one']);
  running.reload({ ...(await configured('read')), tls: renewed });
  expect(await seen()).toEqual(['7', 'two']);
});

it('where its certificates cannot be used nothing of it is taken, and that is an error', async () => {
  running = await runBroker(await configured('admin'), logger);
  const next = { ...(await configured('read')), tls: { ...renewed, key: ONE.key } };
  expect(() => running?.reload(next)).toThrow('the key is not that of the certificate');
  expect(await seen()).toEqual(['0', 'one']);
});

it("where an issuer's keys cannot be used nothing of it is taken, its certificate neither", async () => {
  running = await runBroker(await configured('admin'), logger);
  const next = { ...(await configured('read')), tls: renewed };
  const issuer = { name: 'prod', kubernetes: false, issuer: 'https://i', audience: 'a', algorithms: ['RS256'] };
  const access = { ...(next.access as AccessConfig), tokens: [{ ...issuer, jwks: { text: '{' } }] };
  expect(() => running?.reload({ ...next, access })).toThrow('the jwks of the issuer "prod" is not JSON');
  expect(await seen()).toEqual(['0', 'one']);
});

it('who is known by a certificate stays known while the listener has TLS, whatever is written', async () => {
  const ca = issue({ name: 'clients', isCa: true });
  const client = issue({ names: ['dns:ops'], by: ca });
  await writeFile(join(folder, 'ca'), ca.cert);
  const first = await configured('read', {
    tls: { cert: 'cert', key: 'key', client_ca: 'ca' },
    access: { rules: [{ who: ['dns:ops'], may: ['admin', 'read'], apps: ['*'] }] },
  });
  running = await runBroker(first, logger);
  using raw = new RawConnection(running.grpc, undefined, { rejectUnauthorized: false, ...client });
  const status = async () =>
    (await raw.call('/lingpai.v1.AdminService/ListCallers', framed(Buffer.alloc(0)))).fields['grpc-status'];
  expect(await status()).toBe('0');
  const watch = outcome(raw.open('/lingpai.v1.TokenService/WatchToken', framed(Buffer.alloc(0))));
  running.reload({ ...first, tls: 'off' });
  expect(await status()).toBe('0');
  running.reload({ ...first, tls: { ...(first.tls as TlsConfig), clientCa: issue({ isCa: true }).cert } });
  // What goes on ends with its CA.
  expect((await watch).fields).toMatchObject({ 'grpc-status': '16' });
});

it('while the key file is gone its keys stay, and who is blocked is shut out all the same', async () => {
  const first = await configured('admin');
  running = await runBroker(first, logger);
  const access = { ...(first.access as AccessConfig), blocked: ['key:orders'] };
  const settings = { access: { keys: 'lingpai.keys', rules: access.rules, blocked: [] } };
  const gone = async (more: object) => {
    const next = await configured('admin', more);
    expect(next.access).toMatchObject({ keys: keyFile(key).trimEnd() });
    await rm(join(folder, 'lingpai.keys'));
    return await load(join(folder, 'lingpai.yaml'));
  };
  const kept = keepingKeys(first, await gone(settings));
  expect(kept.warnings).toEqual([]);
  running.reload(kept);
  expect(await seen()).toEqual(['0', 'one']);
  running.reload(keepingKeys(kept, await gone({ access: { ...settings.access, blocked: ['key:orders'] } })));
  expect(await seen()).toEqual(['16', 'one']);
});

it('keys are kept of the same file alone, and while rules are in force', async () => {
  const first = await configured('admin');
  const access = { ...(first.access as AccessConfig), keys: null, keyNames: [] };
  for (const next of [first, { ...first, access: { ...access, keysFile: '/other' } }, { ...first, access: null }])
    expect(keepingKeys(first, next)).toBe(next);
  const none = { ...first, access };
  expect(keepingKeys(none, none)).toBe(none);
});

it('a key that is revoked goes out though the rest of the configuration cannot be used', async () => {
  const first = await configured('admin');
  running = await runBroker(first, logger);
  expect(await seen()).toEqual(['0', 'one']);
  expect(await withNewKeys(first)).toBeUndefined();
  await writeFile(join(folder, 'lingpai.keys'), '# none');
  await writeFile(join(folder, 'cert'), TWO.cert);
  await expect(load(first.path)).rejects.toThrow('tls');
  const next = await withNewKeys(first);
  if (next) running.reload(next);
  expect(await seen()).toEqual(['16', 'one']);
  for (const text of ['', '{', '# none'])
    expect(await writeFile(join(folder, 'lingpai.keys'), text).then(() => withNewKeys(next ?? first))).toBeUndefined();
});
