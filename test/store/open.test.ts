import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/ops/clock.ts';
import { openStore, parseStoreUrl, recordsOf } from '../../src/store/open.ts';
import { expectStoreError, newPath, record } from './support.ts';

const DEPS = { clock: systemClock, random: Math.random, onDamage: () => undefined };

function redis(name: string, change = {}) {
  return { kind: 'redis', url: name, name, prefix: 'lingpai:', ...change };
}

describe('parseStoreUrl', () => {
  test.each([
    ['memory:', { kind: 'memory' }],
    ['sqlite:lingpai.db', { kind: 'sqlite', path: 'lingpai.db' }],
    ['sqlite:../data/x y.db', { kind: 'sqlite', path: '../data/x y.db' }],
    ['sqlite:/var/lib/lingpai.db', { kind: 'sqlite', path: '/var/lib/lingpai.db' }],
    ['sqlite:///var/lib/lingpai.db', { kind: 'sqlite', path: '///var/lib/lingpai.db' }],
    ['SQLite:x.db', { kind: 'sqlite', path: 'x.db' }],
    ['redis://cache', redis('redis://cache:6379')],
    ['redis://cache:7000/3?prefix=wx:', redis('redis://cache:7000/3', { prefix: 'wx:' })],
    ['redis://:p%40ss@cache', redis('redis://cache:6379', { url: 'redis://:p%40ss@cache:6379' })],
    ['rediss://me:pass@cache/', redis('rediss://cache:6379', { url: 'rediss://me:pass@cache:6379' })],
    ['redis://:pa,ss@cache', redis('redis://cache:6379', { url: 'redis://:pa,ss@cache:6379' })],
    ['rediss://me:a,b,@cache:1/2', redis('rediss://cache:1/2', { url: 'rediss://me:a,b,@cache:1/2' })],
    ['redis://[::1]:7000', redis('redis://[::1]:7000')],
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
    ['redis://', /host is missing/],
    ['redis:cache', /host is missing/],
    ['redis://:hunter2@a,b', /several servers/],
    ['redis://:hunter2@a:1,b:2', /several servers/],
    ['redis://a,b', /several servers/],
    ['redis://:hunter2,@a,b/1', /several servers/],
    ['rediss://:hunter2@a,b?prefix=x', /several servers/],
    ['redis://:hunter2@cache/x', /database must be a number/],
    ['redis://:hunter2@cache?db=1', /"db" is not known/],
    ['redis://:hunter2@cache?prefix=', /the prefix must be/],
    ['redis://:hunter2@cache?prefix=a%20b', /the prefix must be/],
    ['redis://:hunter2#@cache', /not a URL|nothing may follow "#"/],
    ['redis://:hunter2%@cache', /percent-encoded/],
    ['redis+sentinel://:hunter2@cache', /sentinels and Redis Cluster/],
  ])('refuses %j', (url, words) => {
    const parsed = parseStoreUrl(url);
    const error = 'error' in parsed ? parsed.error : expect.fail('it was taken');
    expect(error).toMatch(words);
    expect(error).not.toContain('hunter2');
  });
});

test.each(['memory', 'sqlite'] as const)('openStore opens what the address says: %s', async (kind) => {
  const path = newPath();
  const opened = await openStore(kind === 'memory' ? { kind } : { kind, path }, DEPS);
  await recordsOf(opened).save(record());
  await opened.ledger.deposit('wx0001', []);
  await opened.close();
  expect(existsSync(path)).toBe(kind === 'sqlite');
});

test('openStore rejects, and never throws', async () => {
  const path = newPath('no-such-folder/lingpai.db');
  await expectStoreError(() => openStore({ kind: 'sqlite', path }, DEPS), path, /folder does not exist/);
});
