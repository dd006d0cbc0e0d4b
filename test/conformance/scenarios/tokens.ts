import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { WireType } from '@bufbuild/protobuf/wire';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { ForceRefreshOutcome, type TokenState, TokenStatus } from '../../../src/gen/lingpai/v1/token_pb.js';
import { app, atLeast, atMost, fails, type Stage, slackMs, timing } from '../stage.ts';
import { begin, reopenMs, type Scenario } from './scenario.ts';

const { silenceMs } = timing;

const { ALREADY_NEWER } = ForceRefreshOutcome;

/** What is held: generations, life, removal, and what a later broker may send (R2, R3, R14). */
export const tokens: readonly Scenario[] = [
  {
    number: 8,
    name: '50 rotations in a second',
    alone: true,
    async play(stage) {
      await begin(stage);
      const times: number[] = [];
      for (let generation = 2; generation <= 51; generation++) {
        const held = stage.held(generation, 5_000);
        await pause(20);
        const told = performance.now();
        stage.broker.rotate(app);
        held.then(
          () => times.push(performance.now() - told),
          () => {}, // the last one is waited for below
        );
      }
      await stage.held(51, 5_000);
      const last = await stage.ask('token');
      assert.equal(last.tokenId, stage.broker.stateOf(app).current?.id, 'the last token is held');
      times.sort((a, b) => a - b);
      stage.figures['rotation p50 ms'] = times.at(times.length >> 1) ?? NaN;
      stage.figures['rotation p99 ms'] = times.at(-1) ?? NaN;
    },
  },
  {
    number: 9,
    name: 'older generations overtake',
    async play(stage) {
      const { broker } = stage;
      await begin(stage, 'a', 5n);
      const stream = await stage.stream();
      stream.state(broker.state(app, 4n));
      broker.onReport = () => ({
        outcome: ALREADY_NEWER,
        state: broker.state(app, 3n),
        serverTime: timestampFromMs(Date.now()),
      });
      await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', { attempts: 1 });
      assert.equal((await stage.ask('token')).generation, '5');
      broker.rotate(app);
      await stage.held(6);
      (await stage.stream()).state(broker.state(app, 2n));
      const marker = await cycle(stage);
      assert.equal(marker.generation, '7');
      const seen = (await stage.ask('events')).events.filter(({ type, state }) => type === 'state' && state === 'HELD');
      const generations = seen.map(({ generation }) => Number(generation));
      assert.deepEqual(
        generations,
        generations.toSorted((a, b) => a - b),
        'no event shows an older generation',
      );
      assert.deepEqual([...new Set(generations)], [5, 6, 7]);
    },
  },
  {
    number: 10,
    name: 'generations above 2^53 and 2^63',
    async play(stage) {
      const { broker } = stage;
      const large = [2n ** 53n + 1n, 2n ** 53n + 2n, 2n ** 63n - 1n, 2n ** 63n + 1n, 2n ** 64n - 1n];
      await begin(stage, 'a', 1n);
      for (const generation of large) {
        broker.put(broker.state(app, generation));
        const { generation: held } = await stage.held(generation);
        assert.equal(held, String(generation));
      }
      (await stage.stream()).state(broker.state(app, 2n ** 63n));
      stage.box.reset();
      const [, next] = await stage.watches(2, reopenMs);
      assert.equal(next?.known[app], 2n ** 64n - 1n, 'what it knows');
      assert.equal((await stage.ask('token')).generation, String(2n ** 64n - 1n));
    },
  },
  {
    number: 11,
    name: 'reset and resume',
    async play(stage) {
      const { broker } = stage;
      broker.states.set('wx2', broker.state('wx2', 9n));
      await begin(stage, 'a', 5n, { apps: [app, 'wx2'] });
      stage.box.reset();
      const [, second] = await stage.watches(2, reopenMs);
      assert.deepEqual(second?.known, { [app]: 5n, wx2: 9n }, 'what it knows');
      assert.equal((await stage.ask('token')).generation, '5', 'the token is served meanwhile');
      broker.put(broker.state(app, 6n, { lifeMs: 700 }));
      await stage.held(6);
      await stage.none('EXPIRED');
      stage.box.reset();
      const [, , third] = await stage.watches(3, reopenMs);
      assert.deepEqual(third?.known, { wx2: 9n }, 'nothing is known of an app whose token has expired');
    },
  },
  {
    number: 18,
    name: 'FRESH, DEGRADED, EXPIRED, FRESH',
    async play(stage) {
      const { broker } = stage;
      broker.states.set('wx2', broker.state('wx2', 1n));
      const first = await begin(stage, 'a', 1n, { apps: [app, 'wx2'] });
      const same = (status: TokenStatus, statusReason: string, hasToken = true): TokenState => {
        const state = broker.state(app, 1n, { status, statusReason });
        return Object.assign(state, { current: hasToken ? first.current : undefined });
      };
      broker.put(same(TokenStatus.DEGRADED, 'errcode -1'));
      broker.rotate('wx2');
      await stage.held(2, slackMs, 'wx2'); // what was sent before it has come too
      assert.equal((await stage.ask('token')).tokenId, first.current?.id, 'a degraded token is served');
      broker.put(same(TokenStatus.EXPIRED, 'WeChat answers errcode -1', false));
      const error = await stage.none('EXPIRED');
      assert.match(error.message, /errcode -1/, "the broker's words");
      broker.put(broker.state(app, 2n));
      await stage.held(2);
      const states = (await stage.ask('events')).events
        .filter(({ type }) => type === 'state')
        .map(({ state }) => state);
      assert.deepEqual(
        states.filter((state, index) => state !== states[index - 1]),
        ['HELD', 'NONE', 'HELD'],
      );
    },
  },
  {
    number: 19,
    name: 'the broker gone, two seconds of life, and clocks an hour off',
    alone: true,
    async play(stage) {
      const { broker } = stage;
      const hour = 3_600_000;
      const apps = { wx1: 0, wx2: hour, wx3: -hour };
      let told = 0;
      broker.onWatch = (watch) => {
        told = performance.now();
        for (const [each, offset] of Object.entries(apps)) {
          const nowMs = Date.now() + offset;
          watch.state(broker.state(each, 1n, { lifeMs: 2_000, nowMs }), nowMs);
        }
      };
      await stage.create({ apps: Object.keys(apps) });
      stage.box.refuses = true;
      stage.box.reset();
      const ends = await Promise.all(
        Object.keys(apps).map(async (each) => {
          await stage.none('EXPIRED', 2_000 + slackMs, each);
          return performance.now() - told;
        }),
      );
      for (const end of ends) {
        atLeast(end, 1_800, 'the token was over');
        atMost(end, 2_200 + 200, 'the token was over');
      }
    },
  },
  {
    number: 20,
    name: 'removed, and back',
    async play(stage) {
      const { broker } = stage;
      await begin(stage, 'a', 5n);
      const stream = await stage.stream();
      stream.send({ case: 'removed', value: { appId: app } });
      await stage.none('REMOVED');
      stream.state(broker.state(app, 1n));
      assert.equal((await stage.held(1)).generation, '1', 'an older generation is taken after that');
      assert.equal(broker.of('watch').length, 1, 'the stream went on');
    },
  },
  {
    number: 24,
    name: 'what a later broker may send',
    async play(stage) {
      const { broker } = stage;
      broker.isOfTomorrow = true;
      stage.box.trickles = true;
      await begin(stage);
      const stream = await stage.stream();
      const unknown = [
        { no: 15, wireType: WireType.LengthDelimited, data: Uint8Array.of(3, 1, 2, 3) },
        { no: 900, wireType: WireType.Varint, data: Uint8Array.of(7) },
      ];
      stream.send({ case: undefined, value: undefined } as never, Date.now(), unknown);
      const status = 99 as TokenStatus;
      broker.put(broker.state(app, 2n, { status }));
      await stage.held(2);
      stream.send({ case: 'heartbeat', value: {} }, Date.now(), unknown);
      broker.onReport = () => ({
        outcome: 77 as ForceRefreshOutcome,
        state: broker.stateOf(app),
        serverTime: timestampFromMs(Date.now()),
      });
      await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', { attempts: 1 });
      broker.rotate(app);
      await stage.held(3);
      // Events that nobody knows feed the watchdog.
      stream.heartbeatMs = 0;
      for (let passed = 0; passed < 2 * silenceMs; passed += silenceMs / 4) {
        await pause(silenceMs / 4);
        stream.send({ case: undefined, value: undefined } as never, Date.now(), unknown);
      }
      broker.rotate(app);
      await stage.held(4);
      assert.equal(broker.of('watch').length, 1, 'the stream lives');
    },
  },
];

/** A new token, and what is held once it has come: all that was sent before it has come too. */
async function cycle(stage: Stage) {
  const { generation } = stage.broker.rotate(app);
  return stage.held(generation);
}
