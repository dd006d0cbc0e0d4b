import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs as ms, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { statusText } from '../../src/commands/status.ts';
import {
  AppTokenStatus,
  GetStatusResponseSchema,
  IntentKind,
  PropagationHop,
} from '../../src/gen/lingpai/v1/admin_pb.js';
import { Place } from '../support/lingpai.ts';
import { RedisServer } from '../support/redis.ts';
import { ForeignClient } from '../support/rpc.ts';

describe('status of a broker that owns its store', () => {
  let place: Place;
  let grpc: string;
  let http: string;
  beforeAll(async () => {
    place = await Place.make();
    await place.configure();
    ({ grpc, http } = await place.serve());
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it('prints a table of the apps, and the same as JSON', async () => {
    // Both have a token by then.
    for (const app of ['wxa', 'wxb']) await place.run('get', app, '--addr', grpc);
    const { code, output } = await place.run('status', '--addr', grpc);
    expect({ code, output }).toEqual({
      code: 0,
      output: expect.stringMatching(
        /^one broker, which owns its store\n\nAPP +STATUS +GENERATION +TOKEN +LEFT +NEXT\nwxa +FRESH +\d+ +[0-9a-f]{12} +1:59:\d\d +\S+\nwxb +FRESH .*\n\nNEW TOKENS, FROM +COUNT +MEDIAN +P99 +MAX\nWeChat to the store +2 +\d+ ms +\d+ ms +\d+ ms\n$/,
      ),
    });
    const one = await place.run('status', 'wxb', '--addr', grpc, '--json');
    expect(JSON.parse(one.output)).toMatchObject({ apps: [{ appId: 'wxb', status: 'APP_TOKEN_STATUS_FRESH' }] });
    expect(JSON.parse(one.output).cluster).toBeUndefined();
  });

  it('P12: shows no token', async () => {
    const got = await place.run('get', 'wxa', '--addr', grpc, '--json', '--show-token');
    const { value } = JSON.parse(got.output).state.current;
    const { output } = await place.run('status', '--addr', grpc, '--json');
    expect(output.includes(value)).toBe(false);
  });

  it('an unknown app is an error with exit code 1', async () => {
    const { code, output } = await place.run('status', 'wxa', 'nope', '--addr', grpc, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(output.slice(0, output.indexOf('\n')))).toMatchObject({
      error: { code: 'NotFound', reason: 'APP_NOT_FOUND', metadata: { app_id: 'nope' } },
    });
    expect((await place.run('status', '--addr', '127.0.0.1:1')).output).toContain('Is a broker running');
  });

  it('the service is on both ports, and health knows it', async () => {
    const response = await fetch(`http://${http}/lingpai.v1.AdminService/GetStatus`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"appIds": ["wxa"]}',
    });
    expect(await response.json()).toMatchObject({ apps: [{ appId: 'wxa' }] });
    using client = new ForeignClient(grpc, 'lingpai.v1.AdminService', ['lingpai/v1/admin.proto']);
    expect(await client.call('GetStatus', {})).toMatchObject({ apps: [{ app_id: 'wxa' }, { app_id: 'wxb' }] });
    using health = new ForeignClient(grpc, 'grpc.health.v1.Health', ['grpc/health/v1/health.proto']);
    expect((await health.call('Check', { service: 'lingpai.v1.AdminService' })).status).toBe('SERVING');
  });
});

describe('what people read', () => {
  const NOW = Date.UTC(2026, 0, 15);
  const text = (response: MessageInitShape<typeof GetStatusResponseSchema>) =>
    statusText(create(GetStatusResponseSchema, { serverTime: timestampFromMs(NOW), ...response }));
  const app = {
    appId: 'wx1',
    generation: 7n,
    tokenId: 'abcdef',
    status: AppTokenStatus.FRESH,
    expireTime: timestampFromMs(NOW + 7_199_000),
    nextRefreshTime: timestampFromMs(NOW + 61_000),
  };

  it('of replicas that are well', () => {
    const cluster = {
      replica: 'r1',
      storeAvailable: true,
      storeAge: ms(1_900),
      replicas: [
        { name: 'r1', address: 'h1:7600', self: true, alive: true, silentFor: ms(0) },
        { name: 'r-two', address: 'h2:7600', alive: true, silentFor: ms(2_000) },
      ],
    };
    expect(text({ cluster, apps: [{ ...app, share: { owner: 'r-two', epoch: 3n } }] })).toBe(
      `r1 answers; the store answered 1 s ago
REPLICA  ADDRESS  STATE
r1       h1:7600  answers
r-two    h2:7600  alive

APP  STATUS  GENERATION  TOKEN   LEFT     NEXT  REFRESHED BY
wx1  FRESH   7           abcdef  1:59:59  1:01  r-two
`,
    );
  });

  it('of how long new tokens took', () => {
    const propagation = [
      { hop: PropagationHop.STORE, count: 12n, median: ms(5), p99: ms(25), max: ms(31) },
      { hop: PropagationHop.REPLICA, count: 3n, median: ms(10), p99: ms(1_007), max: ms(1_007) },
      { hop: PropagationHop.STREAM, count: 45_000n, median: ms(1), p99: ms(50), max: ms(61) },
    ];
    expect(text({ apps: [app], propagation })).toBe(
      `one broker, which owns its store

APP  STATUS  GENERATION  TOKEN   LEFT     NEXT
wx1  FRESH   7           abcdef  1:59:59  1:01

NEW TOKENS, FROM             COUNT  MEDIAN  P99      MAX
WeChat to the store          12     5 ms    25 ms    31 ms
another replica to this one  3      10 ms   1007 ms  1007 ms
this replica to a watch      45000  1 ms    50 ms    61 ms
`,
    );
  });

  it('of all that is unusual', () => {
    const cluster = {
      replica: 'r1',
      storeAvailable: false,
      storeAge: ms(12_300),
      storeTrouble: 'it is too slow',
      replicas: [
        { name: 'r1', self: true, alive: true },
        { name: 'r2', alive: true, silentFor: ms(8_000) },
        { name: 'r3', alive: false, silentFor: ms(31_000) },
      ],
      lostSets: 4n,
    };
    const share = {
      owner: 'r1',
      epoch: 9n,
      intents: [
        { replica: 'r3', epoch: 8n, age: ms(95_000), kind: IntentKind.OPEN },
        { replica: 'r2', epoch: 9n, age: ms(1_200), kind: IntentKind.LEASE },
      ],
      owedTime: timestampFromMs(NOW + 179_500),
      unsaved: true,
    };
    const due = {
      appId: 'wx2',
      status: AppTokenStatus.PENDING,
      share: { owner: 'r1', owedTime: timestampFromMs(NOW) },
    };
    const shown = text({ cluster, apps: [{ ...app, statusReason: 'why', share }, due] });
    for (const line of [
      'r1 answers; the store has been away for 12 s: tokens in memory are served, classic ones are not replaced',
      'it is too slow',
      "4 writes were made again on top of another replica's that came first",
      'r2                alive, but silent for 8 s',
      'r3                dead: silent for 31 s',
      'wx1: why',
      'wx1: provisional: nobody knows which of its last tokens is the newest; a confirming mint is due in 180 s',
      'wx1: a mint of r3 has been open for 95 s (mint 8): nobody knows what became of it',
      'wx1: r2 has been minting for 1 s (mint 9)',
      'wx1: not stored yet: the store has not taken what this replica serves',
      'wx2: provisional: nobody knows which of its last tokens is the newest; a confirming mint is due now',
    ])
      expect(shown.split('\n')).toContain(line);
  });

  it('of channels that are shut', () => {
    const quota = {
      channel: 'subscribe',
      until: timestampFromMs(NOW + 899_000),
      reason: 'DAILY_QUOTA_EXHAUSTED',
      description: "WeChat's quota of messages for the day is spent (errcode 45009)",
    };
    const closed = { channel: 'official_account', reason: 'ACCOUNT_CLOSED', description: 'closed (errcode 50002)' };
    expect(
      text({ apps: [{ ...app, shutChannels: [quota, closed] }] })
        .split('\n')
        .slice(-3),
    ).toEqual([
      `wx1: messages by subscribe are refused until 2026-01-15T00:14:59Z (14:59), when one is tried: WeChat's quota of messages for the day is spent (errcode 45009) (DAILY_QUOTA_EXHAUSTED); "lingpai quota clear wx1" clears the quota and has the next one tried at once; if you have cleared it elsewhere (clear_quota), so do "lingpai refresh wx1" and SIGHUP`,
      'wx1: messages by official_account are refused until one that is on its way finds them taken again: closed (errcode 50002) (ACCOUNT_CLOSED)',
      '',
    ]);
  });

  it('of a single lost write', () => {
    expect(text({ cluster: { replica: 'r1', lostSets: 1n } })).toContain(
      "\n1 write was made again on top of another replica's that came first\n",
    );
  });

  it('of a broker without apps', () => {
    expect(text({})).toBe(
      'one broker, which owns its store\n\nno apps; a caller sees those of which a rule lets it read the status\n',
    );
  });
});

it('tells of replicas that share a Redis, and in words when one has died', async () => {
  await using place = await Place.make();
  await using redis = await RedisServer.start();
  const cluster = { lease: '1s', poll: '200ms' };
  await place.configure({ store: { url: redis.url() }, cluster });
  const [one, two] = [await place.serve(), await place.serve()];
  for (const app of ['wxa', 'wxb']) await place.run('get', app, '--addr', one.grpc);
  const shown = async (words: RegExp) => {
    for (;;) {
      const { output } = await place.run('status', '--addr', one.grpc);
      if (words.test(output)) return output;
    }
  };
  const both = await shown(new RegExp(`${two.grpc}  alive\n`));
  expect(both).toMatch(/^\S+ answers; the store answered 0 s ago\n/);
  expect(both).toContain(`${one.grpc}  answers`);
  expect(both).toMatch(/\nwxa +FRESH .*\S+-[0-9a-f]{8}\n/);
  two.broker.signal('SIGKILL');
  await two.broker.ended();
  expect(await shown(/dead: silent/)).toMatch(new RegExp(`${two.grpc}  dead: silent for \\d+ s`));
  await redis.kill();
  await shown(
    /the store has been away for \d+ s: tokens in memory are served.*\n\S+ refuses connections: nothing listens/,
  );
  const { output } = await place.run('status', '--addr', one.grpc, '--json');
  expect(JSON.parse(output).cluster).toMatchObject({
    storeAvailable: false,
    storeTrouble: expect.stringMatching(/nothing listens/),
  });
  const metrics = await (await fetch(`http://${one.http}/metrics`)).text();
  expect(metrics).toContain('lingpai_cluster_store_up 0');
  expect(metrics).toContain('lingpai_cluster_replica_deaths_total 1');
});
