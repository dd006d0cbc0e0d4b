import { describe, expect, it } from 'vitest';
import { Turns } from '../../src/server/turns.ts';
import { settle } from '../support/clock.ts';

describe('turns', () => {
  it('do one piece of work in each turn of the event loop, in order', async () => {
    const turns = new Turns();
    const done: number[] = [];
    for (let i = 0; i < 3; i++) turns.add(() => done.push(i));
    expect(done).toEqual([]);
    for (const expected of [[0], [0, 1], [0, 1, 2]]) {
      await settle();
      expect(done).toEqual(expected);
    }
    turns.add(() => done.push(3));
    await settle();
    expect(done).toEqual([0, 1, 2, 3]);
  });
});
