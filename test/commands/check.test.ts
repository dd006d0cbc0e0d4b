import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { check } from '../../src/commands/check.ts';
import { said } from '../support/command.ts';

const PASSWORD = 'hunter2';
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-check-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function checked(store: string, proxy: string, json: boolean) {
  const config = join(folder, 'lingpai.yaml');
  await writeFile(join(folder, 'store'), `${store}\n`);
  await writeFile(join(folder, 'proxy'), proxy);
  const urls = { store: { url: { file: 'store' } }, upstream: { proxy: { file: 'proxy' } } };
  await writeFile(config, JSON.stringify({ ...urls, apps: [{ app_id: 'wx1', secret: 's' }] }));
  return said((io) => check({ config, json }, io));
}

it.each([false, true])('P12: a password that stands elsewhere is in no message (JSON: %s)', async (json) => {
  const good = await checked(`redis://:${PASSWORD}@127.0.0.1:1`, `http://u:${PASSWORD}@127.0.0.1:1`, json);
  expect(good.code).toBe(0);
  const bad = await checked(`redis://:${PASSWORD}@127.0.0.1:1/${PASSWORD}`, `http://u:${PASSWORD}%@h`, json);
  expect(bad.code).toBe(2);
  expect(bad.output).toContain('2 problems');
  expect(bad.output).toContain('store.url.file: what stands there is wrong: the database must be a number');
  expect(bad.output).toContain('upstream.proxy.file: what stands there is wrong: has a user name or password that is');
  expect(good.output + bad.output).not.toContain(PASSWORD);
});
