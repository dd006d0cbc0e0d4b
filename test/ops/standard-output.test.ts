import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { standardOutput } from '../../src/ops/standard-output.ts';

let folder = '';
let reader = 0;
let pipe = 0;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-output-'));
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  pipe = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
});
afterEach(async () => {
  closeSync(reader);
  closeSync(pipe);
  await rm(folder, { recursive: true });
});

it('that is a pipe nobody reads takes nothing more, and does not wait; lines go into it whole', () => {
  const output = standardOutput(pipe);
  const lines = Buffer.from(`${'x'.repeat(999)}\n`.repeat(4));
  let taken = 0;
  while (output.write(lines, 0) === lines.length) taken++;
  // All or nothing: what is in the pipe are whole writes.
  const bytes = Buffer.alloc(1_000_000);
  expect(readSync(reader, bytes)).toBe(taken * lines.length);
  expect(taken).toBeGreaterThan(10);
  expect(output.write(lines, 0)).toBe(lines.length);
});

it('fails where nobody can read it any more', () => {
  const output = standardOutput(pipe);
  closeSync(reader);
  expect(() => output.write(Buffer.from('one\n'), 0)).toThrow(expect.objectContaining({ code: 'EPIPE' }));
  reader = openSync(join(folder, 'fifo'), constants.O_RDONLY | constants.O_NONBLOCK);
});

it.each(['is written', 'is given up'])(
  'takes nothing of others in the middle of a line, until that %s',
  async (how) => {
    const [one, two] = [standardOutput(pipe), standardOutput(pipe)];
    const long = Buffer.alloc(1_000_000, 'x');
    const short = Buffer.from('short\n');
    let at = Number(one.write(long, 0));
    expect(at).toBeLessThan(long.length);
    const bytes = Buffer.alloc(1_000_000);
    readSync(reader, bytes);
    expect(two.write(short, 0)).toBe(0);
    if (how === 'is given up') await one.close();
    else
      for (; at < long.length; readSync(reader, bytes)) {
        at = Number(one.write(long, at));
      }
    expect(two.write(short, 0)).toBe(short.length);
  },
);
