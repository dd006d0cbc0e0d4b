import { chmod, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { KeyFileError, parseKeys } from '../../src/access/key-file.ts';
import { changeKeys, LOCK_WAIT_MS } from '../../src/access/write-keys.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { settle } from '../support/clock.ts';

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-keys-'));
  path = join(folder, 'lingpai.keys');
});
afterEach(() => rm(folder, { recursive: true }));

const read = (file: string) => readFile(file, 'utf8');
const deps = { read, wait: settle };
const [a, b] = [makeKey('a'), makeKey('b')];

async function names(): Promise<string[]> {
  return parseKeys(await read(path)).map(({ name }) => name);
}

it("a file that was not there is its owner's alone, and nothing is left beside it", async () => {
  await changeKeys(path, () => [a.stored], deps);
  expect(await names()).toEqual(['a']);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(folder)).toEqual(['lingpai.keys']);
});

it('a file that was there keeps its mode, which may let the broker read it', async () => {
  await writeFile(path, keyFile(a));
  await chmod(path, 0o640);
  await changeKeys(path, (keys) => [...keys, b.stored], deps);
  expect(await names()).toEqual(['a', 'b']);
  expect((await stat(path)).mode & 0o777).toBe(0o640);
});

it('a link stays a link, and what it leads to is changed', async () => {
  await writeFile(join(folder, 'real'), keyFile(a));
  await symlink('real', path);
  await changeKeys(path, (keys) => [...keys, b.stored], deps);
  expect(await readlink(path)).toBe('real');
  expect(await names()).toEqual(['a', 'b']);
});

it('of changes made at once none is lost', async () => {
  const keys = Array.from({ length: 8 }, (_, i) => makeKey(`k${i}`));
  // Whoever waits goes on when another change has ended, or when all that are left wait.
  let unfinished = keys.length;
  let waiting: (() => void)[] = [];
  const wake = () => {
    for (const go of waiting.splice(0)) go();
  };
  const wait = () =>
    new Promise<void>((resolve) => {
      waiting = [...waiting, resolve];
      if (waiting.length === unfinished) wake();
    });
  const changes = keys.map(({ stored }) =>
    changeKeys(path, (old) => [...old, stored], { read, wait }).finally(() => {
      unfinished--;
      wake();
    }),
  );
  await Promise.all(changes);
  expect((await names()).sort()).toEqual(keys.map(({ stored }) => stored.name));
});

it('a lock that stays is named, with what to do, and nothing is changed', async () => {
  await writeFile(path, keyFile(a));
  await writeFile(`${path}.lock`, '');
  let waited = 0;
  const wait = async (ms: number) => {
    waited += ms;
  };
  const change = changeKeys(path, () => [], { read, wait });
  await expect(change).rejects.toThrow(`${path}.lock is there: another "lingpai keys" is at work, or one was killed`);
  await expect(change).rejects.toBeInstanceOf(KeyFileError);
  expect(waited).toBe(LOCK_WAIT_MS);
  expect(await names()).toEqual(['a']);
  expect(await readdir(folder)).toContain('lingpai.keys.lock');
});

it('what fails leaves the file as it was, and no lock', async () => {
  await writeFile(path, `${keyFile(a)}{`);
  await expect(changeKeys(path, () => [], deps)).rejects.toThrow('line 3 is not JSON');
  await writeFile(path, keyFile(a));
  const refuse = () => {
    throw new Error('no');
  };
  await expect(changeKeys(path, refuse, deps)).rejects.toThrow('no');
  expect(await names()).toEqual(['a']);
  expect(await readdir(folder)).toEqual(['lingpai.keys']);
});
