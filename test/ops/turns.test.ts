import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { takingTurns } from '../../src/ops/turns.ts';

test('one goes on at each turn of the loop, the longest waiting first', async () => {
  const pause = takingTurns();
  const went: string[] = [];
  const work = async (name: string) => {
    for (let i = 0; i < 3; i++) {
      await pause();
      went.push(name);
    }
  };
  const done = Promise.all([work('a'), work('b'), work('c')]);
  for (const expected of ['a', 'ab', 'abc', 'abca', 'abcab', 'abcabc', 'abcabca', 'abcabcab', 'abcabcabc']) {
    await setImmediate();
    expect(went.join('')).toBe(expected);
  }
  await done;
});
