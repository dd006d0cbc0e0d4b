import { createServer, type Http2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, describe, expect, it } from 'vitest';
import { ErrorInfoSchema, RetryInfoSchema } from '../../../src/gen/google/rpc/error_details_pb.js';
import {
  ForceRefreshOutcome,
  type ForceRefreshRequest,
  TokenService,
  TokenStatus,
  type WatchTokenResponseSchema,
} from '../../../src/gen/lingpai/v1/token_pb.js';
import { until } from '../../support/until.ts';
import { type Options, ReferenceClient } from './client.ts';
import { Fault, type Held, TIMING } from './rules.ts';
import { switches } from './switches.ts';

type Message = MessageInitShape<typeof WatchTokenResponseSchema>;
type Ended = () => Promise<void>;
/** What the nth stream sends, n from 0. `ended` resolves when the client is gone. */
type Script = (n: number, ended: Ended, appIds: string[]) => AsyncGenerator<Message> | Iterable<Message>;
type Report = (
  request: ForceRefreshRequest,
  n: number,
) => Awaited<ReturnType<ServiceImpl<typeof TokenService>['forceRefresh']>>;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const serverTime = { seconds: 1_000n };
const body = (generation: bigint, more: object = {}, seconds = 7_000) => ({
  appId: 'wx1',
  generation,
  status: TokenStatus.FRESH,
  current: { value: `value-${generation}`, expireTime: { seconds: 1_000n + BigInt(seconds) } },
  ...more,
});
const state = (generation: bigint, more: object = {}, seconds = 7_000): Message => ({
  event: { case: 'state', value: body(generation, more, seconds) },
  serverTime,
});
const removed: Message = { event: { case: 'removed', value: { appId: 'wx1' } } };
const refusal = (code: Code, reason = '', retrySeconds = 0, metadata = {}) =>
  new ConnectError('refused', code, undefined, [
    { desc: ErrorInfoSchema, value: { domain: 'lingpai', reason, metadata } },
    ...(retrySeconds > 0 ? [{ desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(retrySeconds) } } }] : []),
  ]);

/** A first stream that sends these and then is still; later ones the same. */
const sends = (...messages: Message[]): Script =>
  async function* (_n, ended) {
    yield* messages;
    await ended();
  };

interface World {
  readonly client: ReferenceClient;
  readonly watches: { readonly known: Record<string, bigint>; readonly session: number }[];
  readonly reports: ForceRefreshRequest[];
}

async function world(
  name: string,
  script: Script,
  more: { report?: Report; options?: Partial<Options> } = {},
): Promise<World> {
  const watches: World['watches'] = [];
  const reports: World['reports'] = [];
  let gets = 0;
  const sessions: Http2Session[] = [];
  const service: Partial<ServiceImpl<typeof TokenService>> = {
    async *watchToken({ knownGenerations, appIds }, { signal }: HandlerContext) {
      watches.push({ known: knownGenerations, session: sessions.length });
      const ended = () => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      yield* script(watches.length - 1, ended, appIds);
    },
    forceRefresh: async (request) => {
      reports.push(request);
      return (await more.report?.(request, reports.length - 1)) ?? {};
    },
    get: ({ appId }) => {
      gets += 1;
      if (gets === 1) throw refusal(Code.NotFound, 'APP_NOT_FOUND', 0, { app_id: appId });
      return { state: body(1n, { appId }), serverTime };
    },
  };
  const server = createServer(connectNodeAdapter({ routes: (router) => router.service(TokenService, service) }));
  server.on('session', (session) => sessions.push(session));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  const timing = {
    ...TIMING,
    silenceMs: 400,
    backoffBaseMs: 2,
    backoffCapMs: 20,
    backoffFloorMs: 1,
    appRetryMs: 20,
    slowMs: 500,
  };
  const options = {
    target: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    apps: ['wx1'],
    timing,
    startOptional: true,
  };
  const client = await ReferenceClient.start({ ...options, ...more.options }, 'grpc', (each) => each === name);
  cleanups.push(() => client.close().catch(() => {}));
  return { client, watches, reports };
}

const here = (condition: () => boolean) =>
  until(1_200, () => (condition() ? undefined : 'it')).then(
    () => true,
    () => false,
  );
const apps = ({ client }: World) =>
  client.stats()['apps'] as Record<string, { state: string; generation: string; reason: string }>;
const holds = (it: World, generation: bigint) =>
  here(() => apps(it)['wx1']?.state === 'HELD' && apps(it)['wx1']?.generation === `${generation}`);
/** The last message of each script: whatever came before has been heard when app `end` is held. */
const end: Message = state(1n, { appId: 'end' });
const heard = (it: World) => here(() => apps(it)['end']?.state === 'HELD');
const two = { options: { apps: ['wx1', 'end'] } };
const rejected = () => new Fault('Rejected', 'errcode 40001', { code: '40001' });
const errors = ({ client }: World) => client.events.filter(({ type }) => type === 'error');

async function called(name: string, outcome: ForceRefreshOutcome, script: string[], report?: Report) {
  const generation = outcome === ForceRefreshOutcome.STILL_VALID ? 1n : 2n;
  const it = await world(name, sends(state(1n)), {
    report: report ?? (() => ({ state: body(generation), outcome, serverTime })),
  });
  await holds(it, 1n);
  const used: bigint[] = [];
  const result = await it.client
    .call('wx1', async (token: Held) => {
      const step = script[used.length];
      used.push(token.generation);
      if (step !== 'ok') throw rejected();
    })
    .then(
      () => 'ok',
      ({ kind }: Fault) => kind,
    );
  return `${used.join()} ${result}`;
}

/** For each switch: true while the rule is kept. */
const KEPT: Record<string, (name: string) => Promise<boolean>> = {
  'older-taken-from-stream': async (name) => {
    const it = await world(name, sends(state(5n), state(4n), end), two);
    await heard(it);
    return apps(it)['wx1']?.generation === '5';
  },
  'older-taken-from-report': async (name) => {
    const report: Report = () => ({ state: body(4n), outcome: ForceRefreshOutcome.ALREADY_NEWER, serverTime });
    const it = await world(name, sends(state(5n)), { report });
    await holds(it, 5n);
    await it.client.report('wx1', { generation: 5n });
    return apps(it)['wx1']?.generation === '5';
  },
  'equal-refused': async (name) => {
    const it = await world(
      name,
      sends(state(5n, { current: undefined, status: TokenStatus.EXPIRED }), state(5n), end),
      two,
    );
    await heard(it);
    return apps(it)['wx1']?.state === 'HELD';
  },
  'generations-as-numbers': async (name) => holds(await world(name, sends(state(2n ** 53n + 1n))), 2n ** 53n + 1n),
  'generations-signed': async (name) => holds(await world(name, sends(state(2n ** 63n + 1n))), 2n ** 63n + 1n),
  'first-of-a-burst': async (name) => holds(await world(name, sends(state(1n), state(2n), state(3n))), 3n),
  'removed-ignored': async (name) => {
    const it = await world(name, sends(state(5n), removed, end), two);
    // Unheard where a switch drops it too: NONE is what counts.
    return here(() => apps(it)['wx1']?.reason === 'REMOVED');
  },
  'removed-keeps-generation': async (name) => holds(await world(name, sends(state(5n), removed, state(2n))), 2n),
  'no-expiry': async (name) => {
    const it = await world(
      name,
      sends(state(1n, { current: { value: 'v', expireTime: { seconds: 1_000n, nanos: 1e8 } } })),
    );
    await holds(it, 1n);
    return here(() => apps(it)['wx1']?.reason === 'EXPIRED');
  },
  'wall-clock': async (name) => holds(await world(name, sends(state(1n))), 1n),
  'expired-status-ignored': async (name) => {
    const it = await world(name, sends(state(1n), state(1n, { current: undefined, status: TokenStatus.EXPIRED })));
    return here(() => apps(it)['wx1']?.reason === 'EXPIRED');
  },
  'no-backoff': async (name) => {
    const it = await world(name, () => []);
    await here(() => errors(it).length >= 5);
    return errors(it).every(({ retryInMs }) => Number(retryInMs) >= 1);
  },
  'clean-end-is-the-end': async (name) => {
    const it = await world(name, () => []);
    return here(() => it.watches.length >= 3);
  },
  'backoff-reset-at-first-message': async (name) => {
    const timing = { silenceMs: 5_000, backoffFloorMs: 1, backoffBaseMs: 1, backoffCapMs: 400 };
    const it = await world(name, () => [state(1n)], { options: { timing } });
    return here(() => errors(it).some(({ retryInMs }) => Number(retryInMs) > 5));
  },
  'no-jitter': async (name) => {
    const timing = { backoffFloorMs: 1, backoffBaseMs: 20, backoffCapMs: 20 };
    const it = await world(name, () => [], { options: { timing } });
    await here(() => errors(it).length >= 8);
    return new Set(errors(it).map(({ retryInMs }) => retryInMs)).size > 1;
  },
  'no-cap': async (name) => {
    const it = await world(name, () => []);
    return here(() => errors(it).length >= 15);
  },
  'same-connection': async (name) => {
    const it = await world(name, sends(state(1n)));
    await here(() => it.watches.length >= 2);
    return it.watches[0]?.session !== it.watches[1]?.session;
  },
  'no-watchdog': async (name) => {
    const it = await world(name, sends(state(1n)));
    return here(() => it.watches.length >= 2);
  },
  'watchdog-after-first-message': async (name) => {
    const it = await world(name, sends());
    return here(() => it.watches.length >= 2);
  },
  'heartbeats-do-not-feed': async (name) => {
    const it = await world(name, async function* () {
      for (let beats = 0; beats < 14; beats += 1) {
        yield { event: { case: 'heartbeat', value: {} } };
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
      yield state(9n);
    });
    await holds(it, 9n);
    return apps(it)['wx1']?.generation === '9';
  },
  'goaway-at-once': async (name) => {
    const times: number[] = [];
    const it = await world(name, (n, ended) => {
      times[n] = performance.now();
      return n === 0
        ? [{ event: { case: 'goaway', value: { reconnectAfter: { nanos: 150_000_000 } } } }]
        : sends()(n, ended, []);
    });
    await here(() => it.watches.length >= 2);
    return (times[1] ?? 0) - (times[0] ?? 0) >= 140;
  },
  'goaway-same-connection': async (name) => {
    const goaway: Message = { event: { case: 'goaway', value: {} } };
    const it = await world(name, (n, ended) => (n === 0 ? [goaway] : sends()(n, ended, [])));
    await here(() => it.watches.length >= 2);
    return it.watches[0]?.session !== it.watches[1]?.session;
  },
  'retry-info-ignored': async (name) => {
    const it = await world(name, () => {
      throw refusal(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', 3);
    });
    await here(() => errors(it).length >= 1);
    return Number(errors(it)[0]?.['retryInMs']) >= 3_000;
  },
  'no-slow-lane': async (name) => {
    const it = await world(name, () => {
      throw refusal(Code.PermissionDenied);
    });
    await here(() => errors(it).length >= 1);
    return Number(errors(it)[0]?.['retryInMs']) >= 500;
  },
  'bad-app-starves': async (name) => holds(await worldOfTwo(name), 1n),
  'bad-app-forgotten': async (name) => {
    const it = await worldOfTwo(name);
    return here(() => apps(it)['bad']?.state === 'HELD');
  },
  'no-known-generations': async (name) => {
    const it = await world(name, (n, ended) => (n === 0 ? [state(2n ** 63n + 1n)] : sends()(n, ended, [])));
    await here(() => it.watches.length >= 2);
    return it.watches[1]?.known['wx1'] === 2n ** 63n + 1n;
  },
  'known-after-expiry': async (name) => {
    const over = state(1n, { current: undefined, status: TokenStatus.EXPIRED });
    const it = await world(name, (n, ended) => (n === 0 ? [state(1n), over] : sends()(n, ended, [])));
    await here(() => it.watches.length >= 2);
    return Object.keys(it.watches[1]?.known ?? {}).length === 0;
  },
  'outage-empties': async (name) => {
    const it = await world(name, (n, ended) => (n === 0 ? [state(1n)] : sends()(n, ended, [])));
    await here(() => it.watches.length >= 2);
    return apps(it)['wx1']?.state === 'HELD';
  },
  'reports-not-shared': async (name) => {
    const report: Report = () => ({ state: body(2n), outcome: ForceRefreshOutcome.REFRESHED, serverTime });
    const it = await world(name, sends(state(1n)), { report });
    await holds(it, 1n);
    await Promise.all(Array.from({ length: 10 }, () => it.client.report('wx1', { generation: 1n, value: 'value-1' })));
    return it.reports.length === 1;
  },
  'report-names-nothing': async (name) => {
    const report: Report = () => ({ state: body(2n), outcome: ForceRefreshOutcome.REFRESHED, serverTime });
    const it = await world(name, sends(state(1n)), { report });
    await holds(it, 1n);
    await it.client.report('wx1', { generation: 1n, value: 'value-1' });
    return it.reports[0]?.rejected.value === 'value-1';
  },
  'reports-again-in-cooldown': async (name) => {
    const report: Report = () => {
      throw refusal(Code.ResourceExhausted, 'COOLDOWN', 60);
    };
    const it = await world(name, sends(state(1n)), { report });
    await holds(it, 1n);
    for (let n = 0; n < 2; n += 1) await it.client.report('wx1', { generation: 1n }).catch(() => {});
    return it.reports.length === 1;
  },
  'no-second-attempt': async (name) =>
    (await called(name, ForceRefreshOutcome.REFRESHED, ['40001', 'ok'])) === '1,2 ok',
  'third-attempt': async (name) =>
    (await called(name, ForceRefreshOutcome.REFRESHED, ['40001', '40001'])) === '1,2 Rejected',
  'repeats-the-same-token': async (name) =>
    (await called(name, ForceRefreshOutcome.JOINED, ['40001', 'ok'])) === '1,2 ok',
  'retries-still-valid': async (name) =>
    (await called(name, ForceRefreshOutcome.STILL_VALID, ['40001', 'ok'])) === '1 Rejected',
  'raises-the-report-error': async (name) =>
    (await called(name, ForceRefreshOutcome.REFRESHED, ['40001'], () => {
      throw refusal(Code.Unavailable);
    })) === '1 Rejected',
  'sleeps-for-cooldown': async (name) =>
    (await called(name, ForceRefreshOutcome.REFRESHED, ['40001', 'ok'], () => {
      throw refusal(Code.ResourceExhausted, 'COOLDOWN', 1);
    })) === '1 Rejected',
  'previous-chosen': async (name) => {
    const it = await world(name, sends(state(2n, { previous: { value: 'value-1' } })));
    await holds(it, 2n);
    return it.client.token('wx1').value === 'value-2';
  },
  'unknown-status-refused': async (name) => holds(await world(name, sends(state(1n, { status: 99 }))), 1n),
  'unknown-event-is-fatal': async (name) => holds(await world(name, sends({}, state(1n))), 1n),
  'stops-when-refused': async (name) => {
    const script: Script = () => {
      throw refusal(Code.PermissionDenied);
    };
    const it = await world(name, script, { options: { timing: { slowMs: 50, backoffFloorMs: 1, backoffBaseMs: 1 } } });
    return here(() => it.watches.length >= 2);
  },
  'refused-empties': async (name) => {
    const it = await world(name, async function* () {
      yield state(1n);
      throw refusal(Code.PermissionDenied);
    });
    await here(() => errors(it).length >= 1);
    return apps(it)['wx1']?.state === 'HELD';
  },
  'start-fails-at-once': (name) => {
    const script: Script = (n, ended) => {
      if (n === 0) throw refusal(Code.Unavailable);
      return sends(state(1n))(n, ended, []);
    };
    return world(name, script, { options: { startOptional: false } }).then(
      () => true,
      () => false,
    );
  },
  'start-drops-unknown-app': (name) => {
    const script: Script = () => {
      throw refusal(Code.NotFound, 'APP_NOT_FOUND', 0, { app_id: 'wx1' });
    };
    const timing = { appRetryMs: 5_000 };
    return world(name, script, { options: { startOptional: false, startTimeoutMs: 500, timing } }).then(
      () => false,
      ({ kind, appId }: Fault) => kind === 'Rpc' && appId === 'wx1',
    );
  },
  'close-waits-for-backoff': async (name) => {
    const timing = { backoffFloorMs: 2_500, backoffBaseMs: 2_500 };
    const it = await world(name, () => [], { options: { timing } });
    await here(() => errors(it).length >= 1);
    void it.client.close();
    return here(() => it.client.events.at(-1)?.type === 'closed');
  },
  'value-in-event': async (name) => {
    const it = await world(name, sends(state(1n)));
    await holds(it, 1n);
    return !JSON.stringify(it.client.events).includes('value-1');
  },
  'value-in-error': async (name) => {
    const report: Report = () => {
      throw refusal(Code.Unavailable);
    };
    const it = await world(name, sends(state(1n)), { report });
    await holds(it, 1n);
    const refused = { generation: 1n, value: 'value-1' };
    return it.client.report('wx1', refused).then(
      () => false,
      ({ message }: Fault) => !message.includes('value-1'),
    );
  },
  'close-once': async (name) => {
    const { client } = await world(name, sends(state(1n)));
    await client.close();
    try {
      await client.close();
      return true;
    } catch {
      return false;
    }
  },
};

/** One app is not known at first. */
function worldOfTwo(name: string): Promise<World> {
  const script: Script = (n, ended, appIds) => {
    if (n < 1 || (name === 'bad-app-starves' && appIds.includes('bad'))) {
      throw refusal(Code.NotFound, 'APP_NOT_FOUND', 0, { app_id: 'bad' });
    }
    return sends(state(1n))(n, ended, appIds);
  };
  return world(name, script, { options: { apps: ['wx1', 'bad'] } });
}

describe.each(Object.entries(KEPT))('%s', (name, isKept) => {
  it('is kept, and broken by its switch', async () => {
    expect(switches).toHaveProperty(name);
    expect(await isKept('')).toBe(true);
    expect(await isKept(name)).toBe(false);
  });
});
