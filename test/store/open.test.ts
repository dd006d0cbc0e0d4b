import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openStore, parseStoreUrl } from '../../src/store/open.ts';
import { expectStoreError, newPath, record } from './support.ts';

describe('parseStoreUrl', () => {
  test.each([
    ['memory:', { kind: 'memory' }],
    ['sqlite:lingpai.db', { kind: 'sqlite', path: 'lingpai.db' }],
    ['sqlite:../data/x y.db', { kind: 'sqlite', path: '../data/x y.db' }],
    ['sqlite:/var/lib/lingpai.db', { kind: 'sqlite', path: '/var/lib/lingpai.db' }],
    ['sqlite:///var/lib/lingpai.db', { kind: 'sqlite', path: '///var/lib/lingpai.db' }],
    ['SQLite:x.db', { kind: 'sqlite', path: 'x.db' }],
  ])('%s', (url, parsed) => {
    expect(parseStoreUrl(url)).toEqual(parsed);
  });

  test.each([
    ['', /not the address of a store/],
    ['lingpai.db', /write "sqlite:PATH"/],
    ['postgres://db', /not the address of a store/],
    ['memory:x', /nothing may follow/],
    ['sqlite:', /path of the file is missing/],
    ['sqlite::memory:', /write "memory:"/],
    ['sqlite://x.db', /without "\/\/"/],
    ['sqlite:a\0b', /NUL/],
    ['redis://:hunter2@cache', /redis is not supported in this version/],
    ['rediss://:hunter2@cache', /redis is not supported in this version/],
  ])('refuses %j', (url, words) => {
    const parsed = parseStoreUrl(url);
    const error = 'error' in parsed ? parsed.error : expect.fail('it was taken');
    expect(error).toMatch(words);
    expect(error).not.toContain('hunter2');
  });
});

test.each(['memory', 'sqlite'] as const)('openStore opens what the address says: %s', async (kind) => {
  const path = newPath();
  const { store, ledger } = await openStore(kind === 'memory' ? { kind } : { kind, path });
  await store.save(record());
  await ledger.deposit('wx0001', []);
  await store.close();
  expect(existsSync(path)).toBe(kind === 'sqlite');
});

test('openStore rejects, and never throws', async () => {
  const path = newPath('no-such-folder/lingpai.db');
  await expectStoreError(() => openStore({ kind: 'sqlite', path }), path, /folder does not exist/);
});
