import { spawnSync } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

// JavaScript, of which the compiler knows no types.
const { compileCacheFolder } = await import(new URL('../src/compile-cache.js', import.meta.url).href);
const uid = process.getuid?.() ?? 0;

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'lingpai-cache-'));
});
afterEach(() => rmSync(home, { recursive: true }));

function folder(who: object = {}): string | undefined {
  return compileCacheFolder({ env: {}, home, uid, ...who });
}

it('is made, for this user alone', () => {
  expect(folder()).toBe(join(home, '.cache/lingpai'));
  expect(lstatSync(join(home, '.cache/lingpai')).mode & 0o777).toBe(0o700);
  expect(folder()).toBe(join(home, '.cache/lingpai'));
  mkdirSync(join(home, 'xdg'));
  expect(folder({ env: { XDG_CACHE_HOME: join(home, 'xdg') } })).toBe(join(home, 'xdg/lingpai'));
  // What is not absolute is to be ignored, as the standard says.
  expect(folder({ env: { XDG_CACHE_HOME: 'xdg' } })).toBe(join(home, '.cache/lingpai'));
});

it.each<[string, (folder: string) => void]>([
  ['others may enter', (path) => mkdirSync(path, { recursive: true, mode: 0o755 })],
  [
    'is a link',
    (path) => {
      mkdirSync(join(home, 'planted'), { mode: 0o700 });
      mkdirSync(join(path, '..'), { recursive: true });
      symlinkSync(join(home, 'planted'), path);
    },
  ],
  [
    'others may replace',
    (path) => {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      chmodSync(join(path, '..'), 0o777);
    },
  ],
  [
    'lies below one that others may replace',
    (path) => {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      chmodSync(home, 0o720); // its group may
    },
  ],
])('is none where the folder %s', (_, plant) => {
  plant(join(home, '.cache/lingpai'));
  expect(folder()).toBeUndefined();
  chmodSync(home, 0o700);
});

it('is none where the folder is of another user, or cannot be made', () => {
  expect(folder()).toBeDefined();
  expect(folder({ uid: uid + 1 })).toBeUndefined();
  expect(folder({ uid: undefined })).toBeUndefined();
  expect(folder({ home: '/proc/self' })).toBeUndefined();
});

it('is what the command uses, and nothing in the shared temporary folder is', () => {
  const shared = join(home, 'tmp');
  mkdirSync(shared);
  const { NODE_COMPILE_CACHE: _, XDG_CACHE_HOME: __, ...rest } = process.env;
  const env = { ...rest, HOME: home, TMPDIR: shared };
  const lingpai = join(import.meta.dirname, '../src/lingpai.js');
  const run = () => spawnSync(process.execPath, [lingpai, '--version'], { env, timeout: 20_000 }).status;
  expect(run()).toBe(0);
  expect(readdirSync(join(home, '.cache/lingpai'))).toHaveLength(1);
  rmSync(join(home, '.cache/lingpai'), { recursive: true });
  mkdirSync(join(home, '.cache/lingpai'), { mode: 0o755 });
  expect(run()).toBe(0);
  expect(readdirSync(join(home, '.cache/lingpai'))).toEqual([]);
  expect(readdirSync(shared)).toEqual([]);
});
