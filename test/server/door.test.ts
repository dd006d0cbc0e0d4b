import { expect, it } from 'vitest';
import { LOCAL } from '../../src/core/access/principal.ts';
import { Door } from '../../src/server/door.ts';
import type { Head } from '../../src/transport/head.ts';

const SOMEBODY = { ...LOCAL, name: 'key:x' };
const head = (path: string): Head => ({ path, headers: {}, socket: undefined });

it('lets in by paths that are listed, and asks who comes', () => {
  const asked: string[] = [];
  const door = new Door([['/a', 1]], ({ path }) => {
    asked.push(path);
    return SOMEBODY;
  });
  expect(door.paths).toEqual(['/a']);
  expect(door.enter(head('/a'))).toEqual({ answer: 1, principal: SOMEBODY });
  expect(door.enter(head('/b'))).toBeUndefined();
  expect(asked).toEqual(['/a']);
});

it('says who is refused, and what would have answered', () => {
  const refusal = new Error('who are you?');
  const door = new Door([['/a', 1]], () => {
    throw refusal;
  });
  expect(door.enter(head('/a'))).toEqual({ answer: 1, refusal });
});

it('takes everyone for local where nobody asks', () => {
  expect(new Door([['/a', 1]]).enter(head('/a'))).toEqual({ answer: 1, principal: LOCAL });
});

it('has each path once', () => {
  expect(
    () =>
      new Door([
        ['/a', 1],
        ['/a', 2],
      ]),
  ).toThrow('/a is listed twice');
});
