import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { APP, clientOf, failureOf, listen } from './support.ts';

// The HTTP client keeps one timer for all its time-outs, and for good: here it is one that the test drives.
vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });

test('a proxy that does not answer for a tunnel holds no socket beyond the time-out, whoever left before', async () => {
  const asked = Promise.withResolvers<Socket>();
  const proxy = await listen(createServer().on('connect', (_, socket: Socket) => asked.resolve(socket.resume())));
  const client = clientOf('https://wechat.test', { proxy, timeoutMs: 5_000 });
  const caller = new AbortController();
  const failure = failureOf(client.fetchToken(APP, 'classic', caller.signal));
  const socket = await asked.promise;
  caller.abort();
  expect(await failure).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  await setImmediate();
  // The HTTP client's timers are late by up to a second.
  vi.advanceTimersByTime(7_000);
  for (let i = 0; i < 100 && !socket.readableEnded; i++) await setImmediate();
  expect(socket.readableEnded).toBe(true);
});
