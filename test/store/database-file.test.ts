import { chmodSync, copyFileSync, linkSync, renameSync, rmSync } from 'node:fs';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { openStore, recordsOf } from '../../src/store/open.ts';
import { FakeClock } from '../support/clock.ts';
import { newPath, record } from './support.ts';

let path: string;
beforeEach(() => {
  path = newPath();
});

async function opened() {
  const deps = { clock: new FakeClock(), random: Math.random, onDamage: () => undefined };
  const { file, ...rest } = await openStore({ kind: 'sqlite', path }, deps);
  onTestFinished(() => rest.close());
  return { store: recordsOf(rest), trouble: async () => await file?.trouble() };
}

test('nothing is wrong with a file that is written', async () => {
  const { store, trouble } = await opened();
  for (let i = 0; i < 3; i++) {
    expect(await trouble()).toBeUndefined();
    await store.save(record());
  }
  expect(await trouble()).toBeUndefined();
});

test.each(['', '-wal'])('that the file%s was deleted shows, and that it is back', async (suffix) => {
  const { store, trouble } = await opened();
  await store.save(record());
  expect(await trouble()).toBeUndefined();
  linkSync(path + suffix, `${path}.kept`);
  rmSync(path + suffix);
  // No operation fails for it.
  await store.save(record());
  expect(await trouble()).toBe('deleted');
  renameSync(`${path}.kept`, path + suffix);
  expect(await trouble()).toBeUndefined();
});

test.each(['', '-wal'])('that the file%s was replaced shows', async (suffix) => {
  const { store, trouble } = await opened();
  await store.save(record());
  expect(await trouble()).toBeUndefined();
  copyFileSync(path + suffix, `${path}.copy`);
  renameSync(`${path}.copy`, path + suffix);
  await store.save(record());
  expect(await trouble()).toBe('replaced');
});

test('that others may open it shows', async () => {
  const { trouble } = await opened();
  chmodSync(path, 0o640);
  expect(await trouble()).toBe('open to group or others');
  chmodSync(path, 0o600);
  expect(await trouble()).toBeUndefined();
});

test('a store without a file has none to look at', async () => {
  const deps = { clock: new FakeClock(), random: Math.random, onDamage: () => undefined };
  const { file, close } = await openStore({ kind: 'memory' }, deps);
  onTestFinished(close);
  expect(file).toBeUndefined();
});
