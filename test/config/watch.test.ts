import { mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { watchFiles } from '../../src/config/watch.ts';
import { FakeClock, settle } from '../support/clock.ts';

describe('watchFiles', () => {
  function setup(paths = ['a', 'b'], read: Record<string, string> = {}) {
    const clock = new FakeClock();
    const prints = new Map([...'abc'].map((path) => [path, '1']));
    const looks: string[] = [];
    let changes = 0;
    const watch = watchFiles({
      files: { paths, prints: Object.fromEntries(paths.map((path) => [path, read[path] ?? '1'])) },
      intervalMs: 2000,
      clock,
      onChange: () => changes++,
      fingerprint: async (path) => {
        looks.push(path);
        return prints.get(path) ?? 'gone';
      },
    });
    return { clock, prints, watch, looks, changes: () => changes };
  }

  const now = (prints: ReadonlyMap<string, string>) => Object.fromEntries(prints);

  test('notices what changed after it was read and before the first look', async () => {
    const { changes } = setup(['a', 'b'], { b: 'as it was read' });
    await settle();
    expect(changes()).toBe(1);
  });

  test('notices what changed after it was read anew and before that was told', async () => {
    const { clock, prints, watch, changes } = setup(['a']);
    await settle();
    const read = now(prints);
    for (const path of ['a', 'c']) {
      prints.set(path, '2');
      watch.setFiles({ paths: ['a', 'c'], prints: read });
      await clock.advance(2_000);
      prints.set(path, '1');
      await clock.advance(2_000);
    }
    expect(changes()).toBe(4);
  });

  test('says nothing while nothing changes', async () => {
    const { clock, looks, changes } = setup();
    await clock.advance(10_000);
    expect(looks.length).toBe(2 * 6);
    expect(changes()).toBe(0);
  });

  test('calls once for all changes of one look, and again for the next', async () => {
    const { clock, prints, changes } = setup();
    await settle();
    prints.set('a', '2');
    prints.set('b', '2');
    await clock.advance(1_999);
    expect(changes()).toBe(0);
    await clock.advance(1);
    expect(changes()).toBe(1);
    await clock.advance(10_000);
    expect(changes()).toBe(1);
    prints.delete('a');
    await clock.advance(2_000);
    expect(changes()).toBe(2);
  });

  test('follows the paths it is given later; a new path alone is no change', async () => {
    const { clock, prints, watch, changes } = setup(['a']);
    await settle();
    watch.setFiles({ paths: ['a', 'c'], prints: now(prints) });
    await clock.advance(4_000);
    expect(changes()).toBe(0);
    prints.set('c', '2');
    prints.set('b', '2');
    await clock.advance(2_000);
    expect(changes()).toBe(1);
  });

  test('notices a change in a path that it was given a moment before', async () => {
    const { clock, prints, watch, changes } = setup(['a']);
    await settle();
    watch.setFiles({ paths: ['a', 'c'], prints: now(prints) });
    await settle();
    prints.set('c', '2');
    await clock.advance(2_000);
    expect(changes()).toBe(1);
  });

  test('a path that is given again is a new one', async () => {
    const { clock, prints, watch, changes } = setup(['a', 'c']);
    await settle();
    watch.setFiles({ paths: ['a'], prints: now(prints) });
    prints.set('c', '2');
    await clock.advance(2_000);
    watch.setFiles({ paths: ['a', 'c'], prints: now(prints) });
    await clock.advance(4_000);
    expect(changes()).toBe(0);
  });

  test('leaves no timer behind', async () => {
    const { clock, prints, watch, changes } = setup();
    await clock.advance(2_000);
    prints.set('a', '2');
    watch[Symbol.dispose]();
    expect(clock.pending).toBe(0);
    await clock.advance(10_000);
    expect(changes()).toBe(0);
  });

  test('disposed in the middle of a look, it neither calls nor looks again', async () => {
    const { clock, watch } = setup();
    watch[Symbol.dispose]();
    await settle();
    expect(clock.pending).toBe(0);
  });
});

describe('watchFiles on a real disk', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lingpai-watch-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each<[string, (path: string) => Promise<void>]>([
    ['written in place', (path) => writeFile(path, 'new content')],
    [
      'replaced by a rename',
      async (path) => {
        await writeFile(`${path}.tmp`, 'old');
        await rename(`${path}.tmp`, path);
      },
    ],
    ['removed', (path) => unlink(path)],
    [
      'a link that is swapped for another',
      async (path) => {
        await writeFile(`${path}.2`, 'old');
        await symlink(`${path}.2`, `${path}.link`);
        await rename(`${path}.link`, path);
      },
    ],
  ])('notices a file that is %s', async (name, change) => {
    const path = join(folder, name);
    await writeFile(path, 'old');
    const clock = new FakeClock();
    const { promise: changed, resolve } = Promise.withResolvers<void>();
    // The clock knows when a look is over: it then schedules the next.
    const looked = onSchedule(clock);
    const watch = watchFiles({ files: { paths: [path], prints: {} }, intervalMs: 1, clock, onChange: resolve });
    await looked;
    await change(path);
    await clock.advance(1);
    await changed;
    watch[Symbol.dispose]();
  });
});

/** Resolves when something is next scheduled on the clock. */
function onSchedule(clock: FakeClock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const schedule = clock.schedule.bind(clock);
  clock.schedule = (delayMs, fn) => {
    resolve();
    return schedule(delayMs, fn);
  };
  return promise;
}
