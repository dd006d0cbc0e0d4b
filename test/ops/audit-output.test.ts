import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileOutput } from '../../src/ops/audit-output.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-audit-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const TWO = Buffer.from('one\ntwo\n');

describe('a file', () => {
  it('is made for its owner alone, and added to', async () => {
    const path = join(folder, 'audit.log');
    for (let i = 0; i < 2; i++) {
      const output = await fileOutput(path);
      expect(await output.write(TWO, 0)).toBe(8);
      await output.close();
    }
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\none\ntwo\n');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('that was moved or deleted is made anew; one that was truncated is gone on with', async () => {
    const path = join(folder, 'audit.log');
    const output = await fileOutput(path);
    await output.write(TWO, 0);
    await rename(path, `${path}.1`);
    await output.write(TWO, 0);
    expect([await readFile(path, 'utf8'), await readFile(`${path}.1`, 'utf8')]).toEqual(['one\ntwo\n', 'one\ntwo\n']);
    await rm(path);
    await output.write(TWO, 0);
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n');
    await writeFile(path, '');
    await output.write(TWO, 0);
    expect(await readFile(path, 'utf8')).toBe('one\ntwo\n');
    await output.close();
  });

  it('that was moved in the middle of a line has that line whole', async () => {
    const path = join(folder, 'audit.log');
    const output = await fileOutput(path);
    for (const [from, rest] of [
      [2, 'one\ntwo\n'],
      [4, 'two\n'],
      [6, 'two\n'],
    ] as const) {
      await rm(path);
      expect(await output.write(TWO, from)).toBe(8);
      expect(await readFile(path, 'utf8')).toBe(rest);
    }
    await output.close();
  });

  it('whose folder is gone fails, and goes on when it is back', async () => {
    const inner = join(folder, 'log');
    await mkdir(inner);
    const output = await fileOutput(join(inner, 'audit.log'));
    await rm(inner, { recursive: true });
    await expect(output.write(TWO, 0)).rejects.toMatchObject({ code: 'ENOENT' });
    await mkdir(inner);
    expect(await output.write(TWO, 0)).toBe(8);
    expect(await readFile(join(inner, 'audit.log'), 'utf8')).toBe('one\ntwo\n');
    await output.close();
  });

  it('that cannot be opened is refused with what to do', async () => {
    const refusal = (path: string) => fileOutput(path).then(String, (error: Error) => error.message);
    const missing = join(folder, 'none/audit.log');
    expect(await refusal(missing)).toBe(
      `audit.to: the folder ${join(folder, 'none')} does not exist: create it, or name a file elsewhere`,
    );
    expect(await refusal(folder)).toBe(`audit.to: ${folder} is a folder: name a file in it`);
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect(await refusal(join(file, 'audit.log'))).toContain('is no folder: name a file elsewhere');
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    expect(await refusal(fifo)).toBe(`audit.to: ${fifo} is no regular file: name one, or write stdout`);
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    expect(await refusal(fifo)).toBe(`audit.to: ${fifo} is no regular file: name one, or write stdout`);
    closeSync(reader);
    expect(await refusal('/dev/null')).toContain('no regular file');
    await chmod(file, 0o400);
    if (process.getuid?.() !== 0) expect(await refusal(file)).toContain('let the user that runs the broker write it');
  });
});
