import { create, toBinary, toJsonString } from '@bufbuild/protobuf';
import { createHandlerContext } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import type { Rule } from '../../src/core/access/ports.ts';
import type { ClusterStatus } from '../../src/core/cluster/status.ts';
import { appNotFoundError } from '../../src/core/kernel/errors.ts';
import type { ShutChannel } from '../../src/core/messages/sender.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import {
  AdminService,
  AppTokenStatus,
  CallerMethod,
  CallerSchema,
  GetStatusRequestSchema,
  type GetStatusResponse,
  GetStatusResponseSchema,
  IntentKind,
  ListCallersRequestSchema,
  ListCallersResponseSchema,
} from '../../src/gen/lingpai/v1/admin_pb.js';
import { type AdminBroker, adminService, type Propagation } from '../../src/rpc/admin-service.ts';
import { callValues } from '../../src/transport/call.ts';
import { accessOf, caller } from '../support/access.ts';
import { FakeClock } from '../support/clock.ts';
import { Replicas } from '../support/replicas.ts';
import { SECOND, World } from '../support/world.ts';

const NOW = Date.UTC(2026, 0, 15);

function stateOf(appId: string, more: Partial<TokenState> = {}): TokenState {
  return {
    appId,
    generation: 1_768_000_000_123,
    current: { value: 'T0KEN', id: 'abcdef', issueTime: NOW, expireTime: NOW + 7_200_000 },
    previous: { value: '0LD', id: '123456', issueTime: NOW, expireTime: NOW + 1 },
    status: 'FRESH',
    statusReason: '',
    nextRefreshTime: NOW + 3_600_000.5,
    answeredAt: 0,
    ...more,
  };
}

/** What is asked for its status. */
interface Asked {
  readonly broker: AdminBroker;
  readonly cluster?: { status(): ClusterStatus } | undefined;
}

/** A broker of which everything is known. */
function fixed(states: readonly TokenState[], status?: ClusterStatus): Asked {
  const broker: AdminBroker = {
    states: () => states,
    requireApp: (appId) => {
      if (!states.some((state) => state.appId === appId)) throw appNotFoundError(appId);
    },
  };
  return { broker, cluster: status && { status: () => status } };
}

const NONE = { count: 0, medianMs: 0, p99Ms: 0, maxMs: 0 };
const UNMOVED: Propagation = { store: NONE, replica: NONE, stream: NONE };

async function statusOf(
  { broker, cluster }: Asked,
  request: { appIds?: string[]; pageToken?: string } = {},
  clock = new FakeClock(NOW),
  propagation = UNMOVED,
  shutChannels: (appId: string) => readonly ShutChannel[] = () => [],
): Promise<GetStatusResponse> {
  const method = AdminService.method.getStatus;
  const context = createHandlerContext({
    service: AdminService,
    method,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: 'http://h/',
  });
  const pause = async () => {};
  const service = adminService({
    broker,
    cluster: () => cluster?.status(),
    clock,
    propagation: () => propagation,
    shutChannels,
    pause,
  });
  const answer = await service.getStatus(create(GetStatusRequestSchema, request), context);
  return create(GetStatusResponseSchema, answer);
}

const json = (response: GetStatusResponse) => JSON.parse(toJsonString(GetStatusResponseSchema, response));

describe('one process that owns its store', () => {
  it('tells of each app, and of no cluster', async () => {
    const world = await World.started({ apps: { wxs: 'stable', wxc: 'classic' } });
    const status = await statusOf(world, {}, world.clock);
    expect(status.cluster).toBeUndefined();
    expect(status.apps.map(({ appId }) => appId)).toEqual(['wxc', 'wxs']);
    const { current, generation } = world.state();
    expect(status.apps[0]).toMatchObject({
      generation: BigInt(generation),
      tokenId: current?.id,
      status: AppTokenStatus.FRESH,
      statusReason: '',
    });
    expect(status.apps[0]?.share).toBeUndefined();
    await world.broker.stop();
  });

  it('gives times where there are some, by its clock', async () => {
    const pending = stateOf('wx2', { current: null, status: 'PENDING', nextRefreshTime: null, statusReason: 'why' });
    const status = json(await statusOf(fixed([stateOf('wx1'), pending])));
    expect(status).toEqual({
      apps: [
        {
          appId: 'wx1',
          generation: '1768000000123',
          tokenId: 'abcdef',
          status: 'APP_TOKEN_STATUS_FRESH',
          expireTime: '2026-01-15T02:00:00Z',
          nextRefreshTime: '2026-01-15T01:00:00Z',
        },
        { appId: 'wx2', generation: '1768000000123', status: 'APP_TOKEN_STATUS_PENDING', statusReason: 'why' },
      ],
      serverTime: '2026-01-15T00:00:00Z',
    });
  });

  it('P12: tells no token value', async () => {
    const text = JSON.stringify(json(await statusOf(fixed([stateOf('wx1')]))));
    expect(text).not.toMatch(/T0KEN|0LD/);
  });
});

it('tells of the channels of each app that are shut', async () => {
  const shut: ShutChannel[] = [
    { channel: 'subscribe', until: NOW + 900_000, reason: 'DAILY_QUOTA_EXHAUSTED', errcode: 45009 },
    { channel: 'official_account', until: null, reason: 'ACCOUNT_CLOSED', errcode: null },
  ];
  const states = fixed([stateOf('wx1'), stateOf('wx2')]);
  const status = await statusOf(states, {}, new FakeClock(NOW), UNMOVED, (appId) => (appId === 'wx2' ? shut : []));
  const [one, two] = json(status).apps;
  expect(one.shutChannels).toBeUndefined();
  expect(two.shutChannels).toEqual([
    {
      channel: 'subscribe',
      until: '2026-01-15T00:15:00Z',
      reason: 'DAILY_QUOTA_EXHAUSTED',
      description: "WeChat's quota of messages for the day is spent (errcode 45009)",
    },
    { channel: 'official_account', reason: 'ACCOUNT_CLOSED', description: 'the account or the interface is closed' },
  ]);
});

it('tells how long new tokens took by each hop that one has taken', async () => {
  const propagation = {
    ...UNMOVED,
    stream: { count: 3_000, medianMs: 0.2, p99Ms: 25, maxMs: 31.4 },
    store: { count: 2, medianMs: 5, p99Ms: 1_500, maxMs: 1_500 },
  };
  expect(json(await statusOf(fixed([]), {}, new FakeClock(NOW), propagation)).propagation).toEqual([
    { hop: 'PROPAGATION_HOP_STORE', count: '2', median: '0.005s', p99: '1.500s', max: '1.500s' },
    { hop: 'PROPAGATION_HOP_STREAM', count: '3000', median: '0.001s', p99: '0.025s', max: '0.032s' },
  ]);
});

describe('a replica', () => {
  it('tells who answers, who lives, and what is shared', async () => {
    const status = json(
      await statusOf(
        fixed([stateOf('wx1'), stateOf('wx2')], {
          replica: 'r1',
          storeAvailable: false,
          storeTrouble: 'why',
          storeAgeMs: 12_000.4,
          replicas: [
            { replica: 'r1', address: 'h1:7600', self: true, alive: true, silentMs: 0 },
            { replica: 'r2', address: '', self: false, alive: false, silentMs: 31_500 },
          ],
          apps: [
            {
              appId: 'wx1',
              owner: 'r2',
              epoch: 7,
              intents: [
                { replica: 'r2', epoch: 6, ageMs: 190_000, kind: 'open' },
                { replica: 'r1', epoch: 7, ageMs: 250, kind: 'lease' },
              ],
              owedTime: NOW + 180_000,
              unsaved: true,
            },
            { appId: 'gone', owner: 'r1', epoch: 1, intents: [], owedTime: null, unsaved: false },
          ],
          lostSets: 3,
        }),
      ),
    );
    expect(status.cluster).toEqual({
      replica: 'r1',
      storeAge: '12s',
      storeTrouble: 'why',
      replicas: [
        { name: 'r1', address: 'h1:7600', self: true, alive: true, silentFor: '0s' },
        { name: 'r2', silentFor: '31.500s' },
      ],
      lostSets: '3',
    });
    expect(status.apps.map(({ appId }: { appId: string }) => appId)).toEqual(['wx1', 'wx2']);
    expect(status.apps[0].share).toEqual({
      owner: 'r2',
      epoch: '7',
      intents: [
        { replica: 'r2', epoch: '6', age: '190s', kind: 'INTENT_KIND_OPEN' },
        { replica: 'r1', epoch: '7', age: '0.250s', kind: 'INTENT_KIND_LEASE' },
      ],
      owedTime: '2026-01-15T00:03:00Z',
      unsaved: true,
    });
    expect(status.apps[1].share).toBeUndefined();
  });

  it('tells of a real circle: all name one owner, and a store that is away grows older', async () => {
    const replicas = await Replicas.started(2, { apps: { wxc: 'classic', wxs: 'stable' } });
    const asked = (name: string) => statusOf(replicas.get(name), {}, replicas.clock);
    const [one, two] = [await asked('r1'), await asked('r2')];
    expect([one.cluster?.replica, two.cluster?.replica]).toEqual(['r1', 'r2']);
    expect(one.cluster?.replicas.map(({ name, self, alive }) => [name, self, alive])).toEqual([
      ['r1', true, true],
      ['r2', false, true],
    ]);
    const shared = ({ apps }: GetStatusResponse) => apps.map(({ tokenId, share }) => [tokenId, share?.owner]);
    expect(shared(one)).toEqual(shared(two));
    expect(one.apps[0]?.share).toMatchObject({ epoch: 1n, intents: [], unsaved: false });
    replicas.get('r1').connection.way.state = 'cut';
    await replicas.clock.advance(30 * SECOND);
    const { cluster } = await asked('r1');
    expect(cluster?.storeAvailable).toBe(false);
    expect(Number(cluster?.storeAge?.seconds)).toBeGreaterThanOrEqual(28);
    // The other has heard nothing of it for more than a lease.
    const seen = (await asked('r2')).cluster?.replicas.find(({ name }) => name === 'r1');
    expect(seen?.alive).toBe(false);
    expect(Number(seen?.silentFor?.seconds)).toBeGreaterThanOrEqual(15);
  });

  it('tells of a mint that is under way, and of one of which nobody knows what became', async () => {
    const replicas = await Replicas.started(2);
    const { broker, line } = replicas.get('r1');
    line.hold = 'lost';
    broker.forceRefresh('wxc', undefined).catch(() => undefined);
    await replicas.clock.advance(2 * SECOND);
    const intentOf = async (name: string) => {
      const [app] = (await statusOf(replicas.get(name), {}, replicas.clock)).apps;
      const [intent] = app?.share?.intents ?? [];
      return [intent?.replica, intent?.kind, intent?.age?.seconds];
    };
    const lease = ['r1', IntentKind.LEASE, 2n];
    expect([await intentOf('r1'), await intentOf('r2')]).toEqual([lease, lease]);
    await replicas.clock.advance(5 * SECOND);
    const open = ['r1', IntentKind.OPEN, 7n];
    expect([await intentOf('r1'), await intentOf('r2')]).toEqual([open, open]);
  });
});

describe('which apps', () => {
  const many = Array.from({ length: 1_203 }, (_, i) => stateOf(`wx${String(i).padStart(5, '0')}`));

  it('those that are named, each once', async () => {
    const { apps, nextPageToken } = await statusOf(fixed(many), { appIds: ['wx00007', 'wx00003', 'wx00007'] });
    expect(apps.map(({ appId }) => appId)).toEqual(['wx00003', 'wx00007']);
    expect(nextPageToken).toBe('');
  });

  it('all of them in pages, whatever their order', async () => {
    const broker = fixed(many.toReversed());
    const seen: string[] = [];
    const sizes: number[] = [];
    let pageToken = '';
    do {
      const page = await statusOf(broker, { pageToken });
      seen.push(...page.apps.map(({ appId }) => appId));
      sizes.push(page.apps.length);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(sizes).toEqual([500, 500, 203]);
    expect(seen).toEqual(many.map(({ appId }) => appId));
  });

  it('a page is the last where nothing follows', async () => {
    expect((await statusOf(fixed(many.slice(0, 500)))).nextPageToken).toBe('');
  });

  it('an unknown one is APP_NOT_FOUND, a bad request INVALID_REQUEST', async () => {
    const broker = fixed(many);
    await expect(statusOf(broker, { appIds: ['wx00001', 'nobody'] })).rejects.toMatchObject({
      reason: 'APP_NOT_FOUND',
    });
    for (const request of [
      { appIds: ['no id'] },
      { appIds: many.slice(0, 501).map(({ appId }) => appId) },
      { pageToken: '?' },
      { appIds: ['wx00001'], pageToken: 'wx00001' },
    ])
      await expect(statusOf(broker, request)).rejects.toMatchObject({ reason: 'INVALID_REQUEST' });
  });
});

it('lets others have their turn before each answer, and gives none to a caller who left meanwhile', async () => {
  const turn = Promise.withResolvers<void>();
  let asked = 0;
  const broker: AdminBroker = {
    ...fixed([stateOf('wxa')]).broker,
    states: () => {
      asked++;
      return [stateOf('wxa')];
    },
  };
  const service = adminService({
    broker,
    cluster: () => undefined,
    clock: new FakeClock(),
    propagation: () => UNMOVED,
    shutChannels: () => [],
    pause: () => turn.promise,
  });
  const caller = new AbortController();
  const context = createHandlerContext({
    service: AdminService,
    method: AdminService.method.getStatus,
    protocolName: 'grpc',
    requestMethod: 'POST',
    url: 'http://h/',
    requestSignal: caller.signal,
  });
  const answer = service.getStatus(create(GetStatusRequestSchema, {}), context);
  expect(asked).toBe(0);
  caller.abort(new Error('left'));
  turn.resolve();
  await expect(answer).rejects.toThrow();
  expect(asked).toBe(0);
});

describe('what a caller sees', () => {
  const states = ['wxa', 'wxb', 'wxc'].map((appId) => stateOf(appId));

  async function asked(rules: readonly Rule[], states_: readonly TokenState[] = states) {
    const clock = new FakeClock(NOW);
    const parts = accessOf(clock, rules);
    const service = adminService({
      broker: fixed(states_).broker,
      access: parts.access,
      cluster: () => undefined,
      clock,
      propagation: () => ({ ...UNMOVED, store: { ...NONE, count: 1 } }),
      shutChannels: () => [],
      pause: async () => {},
    });
    const context = (method: (typeof AdminService)['methods'][number]) =>
      createHandlerContext({
        service: AdminService,
        method,
        protocolName: 'test',
        requestMethod: 'POST',
        url: 'http://localhost/',
        contextValues: callValues({ onClose() {}, end() {} }, { caller: caller('key:x'), peer: '' }),
      });
    return { ...parts, clock, service, context };
  }

  it('of GetStatus without names is what it has the verb for, page by page', async () => {
    const many = Array.from({ length: 1_200 }, (_, i) => stateOf(`wx${i % 2 ? 'odd' : 'even'}${1_000 + i}`));
    const { service, context } = await asked([{ who: ['key:x'], may: ['status'], apps: ['wxodd*'] }], many);
    const pages: string[][] = [];
    let pageToken = '';
    do {
      const request = create(GetStatusRequestSchema, { pageToken });
      const answer = await service.getStatus(request, context(AdminService.method.getStatus));
      pages.push((answer.apps ?? []).map(({ appId = '' }) => appId));
      expect(answer.propagation).toEqual([]);
      pageToken = answer.nextPageToken ?? '';
    } while (pageToken);
    expect(pages.map(({ length }) => length)).toEqual([500, 100]);
    expect(pages.flat().every((appId) => appId.startsWith('wxodd'))).toBe(true);
  });

  it('with the verb for all apps is all, hops too', async () => {
    const { service, context } = await asked([{ who: ['key:x'], may: ['status'], apps: ['*'] }]);
    const answer = await service.getStatus(create(GetStatusRequestSchema), context(AdminService.method.getStatus));
    expect([answer.apps?.length, answer.propagation?.length]).toEqual([3, 1]);
  });

  it('of ListCallers is who has called, by name and credential, page by page', async () => {
    const { service, context, access, clock } = await asked([]);
    for (let i = 0; i < 1_500; i++) access.admit(caller(`key:${1_000 + i}`, { credentialId: 'c1' }), () => '');
    access.admit(
      caller('spiffe://x', { method: 'certificate', credentialId: null, expireTime: NOW + 60_000 }),
      () => '',
    );
    access.open({ caller: caller('key:1000', { credentialId: 'c1' }), peer: '' }, { check() {}, end() {} });
    const page = (pageToken = '') =>
      service.listCallers(create(ListCallersRequestSchema, { pageToken }), context(AdminService.method.listCallers));
    const first = await page();
    expect(first.callers?.[0]).toMatchObject({
      name: 'key:1000',
      credentialId: 'c1',
      method: CallerMethod.KEY,
      openStreams: 1,
    });
    const rest = await page(first.nextPageToken);
    expect([first.callers?.length, rest.callers?.length, rest.nextPageToken]).toEqual([1_000, 501, '']);
    const last = create(CallerSchema, rest.callers?.at(-1));
    expect(toJsonString(CallerSchema, last)).toBe(
      JSON.stringify({
        name: 'spiffe://x',
        method: 'CALLER_METHOD_CERTIFICATE',
        lastUseTime: new Date(clock.now()).toISOString().replace('.000', ''),
        expireTime: new Date(NOW + 60_000).toISOString().replace('.000', ''),
      }),
    );
    await expect(page('x'.repeat(20_000))).rejects.toMatchObject({ reason: 'INVALID_REQUEST' });
  });

  it('of ListCallers with the longest names still fits into one answer', async () => {
    const { service, context, access } = await asked([]);
    for (let i = 0; i < 1_000; i++)
      access.admit(caller(`jwt:x/${i}${'令'.repeat(2_000)}`, { credentialId: 'c1' }), () => '');
    const answer = await service.listCallers(
      create(ListCallersRequestSchema),
      context(AdminService.method.listCallers),
    );
    const bytes = toBinary(ListCallersResponseSchema, create(ListCallersResponseSchema, answer)).length;
    expect(bytes).toBeGreaterThan(100_000);
    expect(bytes).toBeLessThan(1024 * 1024);
    expect(answer.nextPageToken).not.toBe('');
  });
});
