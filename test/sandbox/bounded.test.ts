import { expect, it } from 'vitest';
import { setBounded } from '../../src/sandbox/bounded.ts';

it('forgets what was set first', () => {
  const map = new Map<string, number>();
  for (const key of ['a', 'b', 'a', 'c', 'd']) setBounded(map, key, 1, 3);
  expect([...map.keys()]).toEqual(['b', 'c', 'd']);
});
