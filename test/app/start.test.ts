import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { load } from '../../src/app/load.ts';
import { runBroker } from '../../src/app/run.ts';
import { ConfigError } from '../../src/config/problem.ts';
import { createLogger } from '../../src/ops/log.ts';
import { ONE } from '../config/pem.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-start-'));
});
afterEach(() => rm(folder, { recursive: true }));

const logger = createLogger({ level: 'error', destination: { write: () => undefined } });
const rules = { access: { rules: [{ who: ['*'], may: ['read'], apps: ['*'] }] } };
const tls = { tls: { cert: 'cert', key: 'key' } };
const off = { tls: 'off' };
const open = { access: 'open' };

/** How callers are treated by a broker that starts so; or what it says is missing. */
async function started(grpc: string, http: string, settings: object): Promise<string> {
  await writeFile(join(folder, 'cert'), ONE.cert);
  await writeFile(join(folder, 'key'), ONE.key, { mode: 0o600 });
  const path = join(folder, 'lingpai.yaml');
  const sections = {
    grpc: { listen: grpc },
    http: { listen: http },
    store: { url: 'memory:' },
    // Nobody is there, so that nothing is minted.
    upstream: { base_url: 'http://127.0.0.1:1' },
  };
  await writeFile(path, JSON.stringify({ ...sections, ...settings, apps: [{ app_id: 'wx1', secret: 's' }] }));
  try {
    const running = await runBroker(await load(path), logger);
    await running.stop();
    return running.access;
  } catch (error) {
    if (error instanceof ConfigError) return `${error.problems.map(({ path }) => path).join()} is missing`;
    throw error;
  }
}

describe.each([
  ['all on loopback', '127.0.0.1:0', '127.0.0.2:0', { absent: 'local', untold: 'rules' }],
  ['all on loopback, by a name', 'localhost:0', 'localhost:0', { absent: 'local', untold: 'rules' }],
  ['gRPC beyond', '0.0.0.0:0', '127.0.0.1:0', { absent: 'access is missing', untold: 'tls is missing' }],
  ['HTTP beyond', '127.0.0.1:0', '0.0.0.0:0', { absent: 'access is missing', untold: 'tls is missing' }],
  ['both beyond', '0.0.0.0:0', '0.0.0.0:0', { absent: 'access is missing', untold: 'tls is missing' }],
])('listeners: %s', (_, grpc, http, { absent, untold }) => {
  it.each<[string, object, string]>([
    ['nothing is said', {}, absent],
    ['TLS alone', tls, absent],
    ['TLS off alone', off, absent],
    ['open', open, 'open'],
    ['open with TLS', { ...open, ...tls }, 'open'],
    ['rules', rules, untold],
    ['rules with TLS', { ...rules, ...tls }, 'rules'],
    ['rules, TLS off', { ...rules, ...off }, 'rules'],
  ])('%s', async (_, settings, expected) => {
    expect(await started(grpc, http, settings)).toBe(expected);
  });
});
