import { expect, it } from 'vitest';
import { Door, type Head } from '../../src/server/door.ts';

const head = (path: string): Head => ({ path, headers: {}, socket: undefined });

it('lets in by paths that are listed, and asks who comes', () => {
  const asked: string[] = [];
  const door = new Door([['/a', 1]], ({ path }) => {
    asked.push(path);
    return { name: 'x' };
  });
  expect(door.paths).toEqual(['/a']);
  expect(door.enter(head('/a'))).toEqual({ answer: 1, principal: { name: 'x' } });
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
  expect(new Door([['/a', 1]]).enter(head('/a'))).toEqual({ answer: 1, principal: { name: 'local' } });
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
