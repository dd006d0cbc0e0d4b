import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openAudit } from '../../src/app/audit.ts';
import { StartError } from '../../src/app/start-error.ts';
import type { AccessConfig, AuditConfig } from '../../src/config/config.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import type { KnownKey } from '../../src/ops/access-metrics.ts';
import { createLogger } from '../../src/ops/log.ts';

let folder: string;
let logged: Record<string, unknown>[];
let lost: number;
let configured: { who: string[]; keys: KnownKey[] } | undefined;
const logger = createLogger({ level: 'info', destination: { write: (line) => logged.push(JSON.parse(line)) } });
const metrics = {
  configure: (who: Iterable<string>, keys: Iterable<KnownKey>) => {
    configured = { who: [...who], keys: [...keys] };
  },
  auditLost: (lines: number) => {
    lost += lines;
  },
};
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-audit-'));
  logged = [];
  lost = 0;
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (to: AuditConfig) => openAudit(to, { logger, metrics });
const path = () => join(folder, 'audit.log');
const lines = async () =>
  (await readFile(path(), 'utf8'))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
const configOf = (rules: AccessConfig['rules'] | undefined, apps: number) => {
  const limits = { calls: 1, streams: 1 };
  return {
    access: rules ? { rules, blocked: [], limits, keys: null, keysFile: null, keyNames: null, tokens: [] } : null,
    apps: Array.from({ length: apps }, (_, i) => ({ appId: `wx${i}`, secret: 's', issuer: 'stable' }) as const),
  };
};
const key = (caller: string, id: string): KnownKey => ({ caller, id, expireTime: null });
const read = { event: 'token.read', call: { caller: LOCAL, peer: '::1' }, appId: 'wx1', tokenId: 'abc' } as const;

it('says what was loaded, and at a reload which keys came and went', async () => {
  const audit = await open({ to: 'file', path: path() });
  const [a, b, c] = [key('key:a', 'aaa'), key('key:b', 'bbb'), key('key:b', 'ccc')];
  audit.loaded(configOf([{ who: ['key:a', 'key:*'], may: ['read'], apps: ['*'] }], 2), [a, b]);
  expect(configured).toEqual({ who: ['key:a', 'key:*'], keys: [a, b] });
  audit.loaded(configOf(undefined, 3), [b, c]);
  audit.loaded(configOf(undefined, 3), [b, c]);
  await audit.close();
  expect(
    (await lines()).map(({ event, rules, apps, caller, key_id }) => [event, rules ?? caller, apps ?? key_id]),
  ).toEqual([
    ['config.loaded', 1, 2],
    ['config.loaded', 0, 3],
    ['key.added', 'key:b', 'ccc'],
    ['key.revoked', 'key:a', 'aaa'],
    ['config.loaded', 0, 3],
  ]);
});

it('close loses nothing of what was counted', async () => {
  const audit = await open({ to: 'file', path: path() });
  for (let i = 0; i < 3; i++) audit.record(read);
  await audit.close();
  expect(await lines()).toMatchObject([{ audit: true, event: 'token.read', caller: 'local', peer: '::1', count: 3 }]);
  expect([lost, logged]).toEqual([0, []]);
});

it('off: nothing is written, and nothing refused', async () => {
  const audit = await open({ to: 'off' });
  audit.loaded(configOf(undefined, 1), []);
  audit.record(read);
  expect(audit.writable).toBe(true);
  await audit.close();
  expect(configured).toEqual({ who: [], keys: [] });
});

it('a file that cannot be opened stands in the way of a start', async () => {
  const opening = open({ to: 'file', path: join(folder, 'none/audit.log') });
  await expect(opening).rejects.toThrow(StartError);
  await expect(opening).rejects.toThrow(/none does not exist: create it, or name a file elsewhere/);
});

it('while it cannot be written it is not writable, and the log says so once; what is lost at the end is counted', async () => {
  const audit = await open({ to: 'file', path: path() });
  await rm(folder, { recursive: true });
  audit.loaded(configOf(undefined, 1), []);
  await expect.poll(() => audit.writable).toBe(false);
  audit.loaded(configOf(undefined, 1), []);
  await audit.close();
  expect(lost).toBe(2);
  expect(logged).toMatchObject([{ level: 'error', code: 'ENOENT', msg: expect.stringContaining('cannot be written') }]);
});
