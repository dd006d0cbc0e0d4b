import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { load } from '../../src/app/load.ts';
import { warningsOf } from '../../src/app/reload.ts';
import { storeTroubleLog } from '../../src/app/store-trouble.ts';
import { createLogger } from '../../src/ops/log.ts';
import type { FileTrouble } from '../../src/store/database-file.ts';

let folder: string;
let logged: Record<string, unknown>[];
const logger = createLogger({ level: 'info', destination: { write: (line) => logged.push(JSON.parse(line)) } });
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-warnings-'));
  logged = [];
});
afterEach(() => rm(folder, { recursive: true }));

const warned = () => logged.splice(0).map(({ time: _, level: __, ...rest }) => rest);

async function configured(settings: object, mode = 0o600) {
  const path = join(folder, 'lingpai.yaml');
  const apps = [{ app_id: 'wx1', secret: { file: 'key' } }];
  await writeFile(path, JSON.stringify({ store: { url: { file: 'store' } }, ...settings, apps }));
  await chmod(path, mode);
  return await load(path);
}

it('settings that need a restart are named by their paths, once', async () => {
  await writeFile(join(folder, 'key'), 's', { mode: 0o600 });
  await writeFile(join(folder, 'store'), 'redis://:hunter2@h', { mode: 0o600 });
  const first = await configured({});
  const warnings = warningsOf(first, logger);
  await warnings(first);
  expect(warned()).toEqual([]);
  const changed = { grpc: { listen: '127.0.0.1:1' }, watch: { heartbeat: '3s', stall_timeout: '31s' } };
  const settings = ['grpc.listen', 'watch.heartbeat', 'watch.stall_timeout'];
  await warnings(await configured(changed));
  expect(warned()).toEqual([{ settings, msg: 'changed settings need a restart' }]);
  // Nothing is new about them when a secret changes later.
  await warnings(await configured(changed));
  expect(warned()).toEqual([]);
  await writeFile(join(folder, 'store'), 'redis://:hunter3@h');
  await warnings(await configured(changed));
  expect(warned()).toEqual([
    { settings: ['grpc.listen', 'store.url', 'watch.heartbeat', 'watch.stall_timeout'], msg: expect.any(String) },
  ]);
  await writeFile(join(folder, 'store'), 'redis://:hunter2@h');
  await warnings(await configured({}));
  expect(warned()).toEqual([]);
  await warnings(await configured(changed));
  expect(warned()).toMatchObject([{ settings }]);
});

const CONTENTS = { key: 's', store: 'memory:', keys: '# none yet' } as const;

it('what may not be meant is told at the start and when it changes, and certificates are no secret', async () => {
  for (const [name, mode] of [
    ['key', 0o600],
    ['store', 0o600],
    ['keys', 0o644],
  ] as const) {
    await writeFile(join(folder, name), CONTENTS[name]);
    await chmod(join(folder, name), mode);
  }
  const rules = (app: string) => ({ access: { keys: 'keys', rules: [{ who: ['*'], may: ['read'], apps: [app] }] } });
  const first = await configured(rules('wx2'));
  const warnings = warningsOf(first, logger);
  await warnings(first);
  const msg = 'the configuration may not mean what it says';
  const message = 'is no app of this configuration; correct it, or add the app';
  expect(warned()).toEqual([{ warnings: [{ path: 'access.rules[0].apps[0]', line: 1, message }], msg }]);
  await warnings(await configured(rules('wx2')));
  await warnings(await configured(rules('wx1')));
  expect(warned()).toEqual([]);
  await warnings(await configured(rules('wx2')));
  expect(warned()).toMatchObject([{ msg }]);
});

it('rules are taken up while running, and how callers are treated is not', async () => {
  await writeFile(join(folder, 'key'), 's', { mode: 0o600 });
  await writeFile(join(folder, 'store'), 'memory:', { mode: 0o600 });
  const rules = (verb: string) => ({ access: { rules: [{ who: ['*'], may: [verb], apps: ['*'] }] } });
  const first = await configured(rules('read'));
  const warnings = warningsOf(first, logger);
  await warnings(await configured(rules('send')));
  expect(warned()).toEqual([]);
  await warnings(await configured({ access: 'open' }));
  expect(warned()).toEqual([{ settings: ['access'], msg: 'changed settings need a restart' }]);
  await warnings(await configured({}));
  expect(warned()).toEqual([]);
});

it('files that others may open are named, each once while it stays so', async () => {
  for (const [name, mode] of [['key', 0o640] as const, ['store', 0o602] as const]) {
    await writeFile(join(folder, name), name === 'key' ? 's' : 'memory:');
    await chmod(join(folder, name), mode);
  }
  const first = await configured({}, 0o644);
  const warnings = warningsOf(first, logger);
  await warnings(first);
  const msg = 'file is open to group or others';
  expect(warned()).toEqual([
    { file: join(folder, 'lingpai.yaml'), mode: '0644', msg },
    { file: join(folder, 'key'), mode: '0640', msg },
    { file: join(folder, 'store'), mode: '0602', msg },
  ]);
  await warnings(first);
  expect(warned()).toEqual([]);
  await chmod(join(folder, 'key'), 0o600);
  await warnings(first);
  await chmod(join(folder, 'key'), 0o644);
  await warnings(first);
  expect(warned()).toEqual([{ file: join(folder, 'key'), mode: '0644', msg }]);
});

it('what becomes of the file of the store is logged when it changes', async () => {
  let trouble: FileTrouble | undefined;
  const look = storeTroubleLog({ store: '/s.db', trouble: async () => trouble }, logger);
  await look();
  expect(warned()).toEqual([]);
  trouble = 'deleted';
  for (let i = 0; i < 3; i++) await look();
  expect(logged[0]).toMatchObject({ level: 'error' });
  expect(warned()).toMatchObject([{ store: '/s.db', trouble, advice: expect.stringContaining('restart') }]);
  trouble = 'open to group or others';
  await look();
  expect(logged[0]).toMatchObject({ level: 'warn', trouble });
  trouble = undefined;
  for (let i = 0; i < 3; i++) await look();
  expect(warned().map(({ msg }) => msg)).toEqual(['store file was tampered with', 'store file is in order again']);
});
