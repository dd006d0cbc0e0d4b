import type { Dispatcher } from 'undici';
import { errors } from 'undici';
import { expect, test } from 'vitest';
import { exchange } from '../../src/wechat/exchange.ts';
import { failureOf, never, SECRET } from './support.ts';

const CONTROLLER: Dispatcher.DispatchController = {
  aborted: false,
  paused: false,
  reason: null,
  abort: () => {},
  pause: () => {},
  resume: () => {},
};

const PLACE = { host: 'wechat.test', proxy: null, ignoredProxy: null };

/** An exchange that fails with this error, before or after the request went out. */
function failing(error: Error, phase: 'queued' | 'sent') {
  const dispatcher = {
    dispatch(_: unknown, handler: Dispatcher.DispatchHandler) {
      if (phase === 'sent') handler.onRequestStart?.(CONTROLLER, {});
      handler.onResponseError?.(CONTROLLER, error);
      return true;
    },
  };
  return exchange(dispatcher as Dispatcher, { method: 'GET', path: `/?secret=${SECRET}` }, PLACE, never());
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

test.each([
  ['no headers in time', new errors.HeadersTimeoutError(), 'sent', 'UPSTREAM_TIMEOUT', 'unknown'],
  ['no body in time', new errors.BodyTimeoutError(), 'sent', 'UPSTREAM_TIMEOUT', 'unknown'],
  ['no connection in time', new errors.ConnectTimeoutError(), 'queued', 'UPSTREAM_UNREACHABLE', 'unsent'],
  ['a closed socket', new errors.SocketError('other side closed'), 'sent', 'UPSTREAM_UNREACHABLE', 'unknown'],
  ['an untrusted certificate', coded('DEPTH_ZERO_SELF_SIGNED_CERT'), 'queued', 'UPSTREAM_UNREACHABLE', 'unsent'],
  ['a code that is none', coded(`x ${SECRET}`), 'sent', 'UPSTREAM_UNREACHABLE', 'unknown'],
  ['no code', new Error(`cannot send /?secret=${SECRET}`), 'sent', 'UPSTREAM_UNREACHABLE', 'unknown'],
] as const)('%s', async (_, error, phase, reason, effect) => {
  expect(await failureOf(failing(error, phase))).toMatchObject({ reason, effect, recovery: { kind: 'backoff' } });
});

test('a request that its caller left while it waited for a connection is not written when there is one', async () => {
  const handlers: Dispatcher.DispatchHandler[] = [];
  const dispatcher = { dispatch: (_: unknown, handler: Dispatcher.DispatchHandler) => handlers.push(handler) > 0 };
  const caller = new AbortController();
  const call = exchange(dispatcher as unknown as Dispatcher, { method: 'GET', path: '/' }, PLACE, caller.signal);
  caller.abort();
  expect(await failureOf(call)).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  let aborted = false;
  const abort = (): void => {
    aborted = true;
  };
  handlers[0]?.onRequestStart?.({ ...CONTROLLER, abort }, {});
  expect(aborted).toBe(true);
});

/** An exchange of a request with this body, whose connection the system refuses to write to; and how often that is. */
async function refusingWrites(body: string) {
  let writes = 0;
  const dispatcher = {
    dispatch(_: unknown, handler: Dispatcher.DispatchHandler) {
      writes++;
      handler.onRequestStart?.(CONTROLLER, {});
      handler.onResponseError?.(CONTROLLER, Object.assign(coded('EPIPE'), { syscall: 'write' }));
      return true;
    },
  };
  const request = { method: 'POST', path: '/', body } as const;
  const error = await failureOf(exchange(dispatcher as unknown as Dispatcher, request, PLACE, never()));
  return { effect: error.effect, writes };
}

test('a request of which no byte was taken is sent once more and no oftener; one that is too large to know is not', async () => {
  expect(await refusingWrites('{}')).toEqual({ effect: 'unsent', writes: 2 });
  expect(await refusingWrites('x'.repeat(7_000))).toEqual({ effect: 'unsent', writes: 2 });
  expect(await refusingWrites('x'.repeat(8_000))).toEqual({ effect: 'unknown', writes: 1 });
});

test('a request that its caller left is not sent once more', async () => {
  const caller = new AbortController();
  let dispatches = 0;
  const dispatcher = {
    dispatch(_: unknown, handler: Dispatcher.DispatchHandler) {
      dispatches++;
      caller.abort();
      handler.onResponseError?.(CONTROLLER, coded('ECONNRESET'));
      return true;
    },
  };
  const request = { method: 'GET', path: '/' } as const;
  const call = exchange(dispatcher as unknown as Dispatcher, request, PLACE, caller.signal);
  expect(await failureOf(call)).toMatchObject({ reason: 'UPSTREAM_TIMEOUT', effect: 'unsent' });
  expect(dispatches).toBe(1);
});

test('an HTTP client that throws does not throw through', async () => {
  const dispatcher = {
    dispatch() {
      throw new Error(SECRET);
    },
  };
  const call = exchange(dispatcher as unknown as Dispatcher, { method: 'GET', path: '/' }, PLACE, never());
  expect(await failureOf(call)).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', effect: 'unsent' });
});
