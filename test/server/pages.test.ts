import type { IncomingMessage, ServerResponse } from 'node:http';
import { expect, it } from 'vitest';
import { LOCAL } from '../../src/core/access/principal.ts';
import { Answers } from '../../src/server/http-answers.ts';
import { pages } from '../../src/server/pages.ts';
import { FakeClock } from '../support/clock.ts';

it('those who wait for the same page are answered one in a turn of the loop, so that others come in between', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const found = pages({
    serving: () => true,
    states: () => [],
    metrics: { contentType: 'text/plain', metrics: () => promise },
    report(error) {
      throw error;
    },
    answers: new Answers(new FakeClock(), 1_000),
    toError: () => expect.fail('an error'),
    requireStatus() {},
  });
  const metrics = found.find(([path]) => path === '/metrics')?.[1];
  let turn = 0;
  const answeredIn: number[] = [];
  for (let i = 0; i < 10; i++) {
    const response = { closed: true, writeHead: () => response, end: () => answeredIn.push(turn) };
    metrics?.answer({ url: '/metrics', method: 'GET' } as IncomingMessage, response as unknown as ServerResponse, {
      caller: LOCAL,
      peer: '',
    });
  }
  resolve('figures');
  while (answeredIn.length < 10) {
    await new Promise(setImmediate);
    turn++;
  }
  expect(new Set(answeredIn).size).toBe(10);
});
