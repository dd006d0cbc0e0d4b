import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { WireType } from '@bufbuild/protobuf/wire';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { ForceRefreshOutcome, type TokenState, TokenStatus } from '../../src/gen/lingpai/v1/token_pb.js';
import { idOf, refusal } from '../support/scripted.ts';
import { until } from '../support/until.ts';
import { canary } from './broker.ts';
import { app, atLeast, atMost, fails, refused, type Stage, slackMs, timing, took } from './stage.ts';

/** One behaviour of a library. Rejects with the first thing that is wrong. */
export interface Scenario {
  readonly number: number;
  readonly name: string;
  /** It measures: nothing else runs beside it. */
  readonly alone?: true;
  /** Only for drivers that can. */
  readonly needs?: string;
  readonly play: (stage: Stage) => Promise<void>;
}

const { silenceMs, backoffCapMs, goawayCapMs, slowMs, slowCapMs, appRetryMs } = timing;

/** Until a client that lost a stream has the next, in milliseconds. */
const reopenMs = backoffCapMs + slackMs;

const { REFRESHED, JOINED, ALREADY_NEWER, STILL_VALID } = ForceRefreshOutcome;

export const scenarios: readonly Scenario[] = [
  {
    number: 1,
    name: 'half-open: a frozen connection is left',
    async play(stage) {
      await begin(stage);
      const before = performance.now();
      stage.box.freeze();
      stage.broker.rotate(app);
      await stage.held(2, silenceMs + reopenMs);
      const recovery = performance.now() - before;
      atMost(recovery, silenceMs + reopenMs, 'the new token was held');
      newConnections(stage);
      stage.figures['recovery ms'] = recovery;
    },
  },
  {
    number: 2,
    name: 'headers, then nothing',
    async play(stage) {
      stage.broker.onWatch = (watch) => {
        watch.heartbeatMs = 0;
      };
      stage.broker.states.set(app, stage.broker.state(app, 1n));
      await stage.create({ startOptional: true });
      const [first, second] = await stage.watches(2, silenceMs + reopenMs);
      assert.ok(first && second);
      atLeast(second.at - first.at, silenceMs, 'the next stream came');
      newConnections(stage);
      stage.broker.onWatch = (watch, request) => stage.broker.tell(watch, request);
      await stage.held(1, silenceMs + reopenMs);
    },
  },
  {
    number: 3,
    name: 'heartbeats alone keep a stream',
    async play(stage) {
      await begin(stage);
      await pause(5 * silenceMs);
      assert.equal(stage.broker.of('watch').length, 1, 'streams that were asked for');
      assert.equal((await stage.ask('stats')).state, 'LIVE');
    },
  },
  {
    number: 4,
    name: 'started before the broker',
    async play(stage) {
      stage.broker.states.set(app, stage.broker.state(app, 1n));
      stage.box.refuses = true;
      const created = stage.create({ startTimeoutMs: 20_000 });
      await until(2 * reopenMs, () => (stage.box.arrivals.length >= 3 ? undefined : 'it did not try three times'));
      stage.box.refuses = false;
      atMost(await took(created), backoffCapMs + 1_000 + slackMs, 'the start was over');
      assert.equal((await stage.ask('token')).generation, '1');
    },
  },
  {
    number: 5,
    name: 'a start that is never answered',
    async play(stage) {
      await begin(stage, 'warm');
      await stage.ask('close', { client: 'warm' });
      const before = await stage.ask('leaks');
      stage.box.deaf = true;
      const began = performance.now();
      const error = await fails(stage.create({ startTimeoutMs: 1_200 }), 'StartTimeout');
      atLeast(performance.now() - began, 1_200, 'it failed');
      atMost(performance.now() - began, 1_200 + slackMs, 'it failed');
      assert.match(error.message, /wx1/, 'it names the app');
      await stage.noMore(before);
    },
  },
  {
    number: 6,
    name: 'a start with an unknown app',
    async play(stage) {
      stage.broker.states.set(app, stage.broker.state(app, 1n));
      const began = performance.now();
      const what = { code: 'NOT_FOUND', reason: 'APP_NOT_FOUND' };
      const error = await fails(stage.create({ apps: [app, 'wx9'] }), 'Rpc', what);
      atMost(performance.now() - began, slackMs, 'it failed');
      assert.match(error.message, /wx9/, 'it names the app');
    },
  },
  {
    number: 7,
    name: 'one bad app of three',
    async play(stage) {
      const { broker } = stage;
      for (const each of ['wx1', 'wx3']) broker.states.set(each, broker.state(each, 1n));
      await stage.create({ apps: ['wx1', 'wx2', 'wx3'], startOptional: true });
      for (const each of ['wx1', 'wx3']) await stage.held(1, slackMs, each);
      await stage.none('NOT_FOUND', slackMs, 'wx2');
      assert.equal(broker.of('watch').length, 2, 'the rest is asked for at once, and once');
      broker.rotate('wx3');
      await stage.held(2, slackMs, 'wx3');
      await until(2 * appRetryMs + slackMs, () =>
        asked(stage, 'wx2').length >= 3 ? undefined : 'it is not asked for again',
      );
      const [one = 0, two = 0, three = 0] = asked(stage, 'wx2');
      atLeast(two - one, appRetryMs, 'it was asked for again');
      atLeast(three - two, appRetryMs, 'it was asked for again');
      // One that is known, and has no token yet, is told of by the stream again; a Get of it has the failure for an answer.
      broker.onGet = (appId) => {
        throw refusal(Code.FailedPrecondition, 'SECRET_INVALID', { appId });
      };
      const status = TokenStatus.PENDING;
      broker.put(
        Object.assign(broker.state('wx2', 0n, { status, statusReason: 'errcode 40125' }), { current: undefined }),
      );
      const pending = await stage.none('PENDING', appRetryMs + reopenMs, 'wx2');
      assert.match(pending.message, /errcode 40125/, "the broker's words");
      const gets = broker.of('get').length;
      broker.put(broker.state('wx2', 7n));
      await stage.held(7, slackMs, 'wx2');
      assert.equal(broker.of('get').length, gets, 'the stream brought it');
      broker.rotate('wx2');
      await stage.held(8, reopenMs, 'wx2');
      broker.rotate('wx1');
      await stage.held(2, reopenMs, 'wx1');
    },
  },
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
    number: 12,
    name: 'goaway',
    async play(stage) {
      await begin(stage);
      const told = performance.now();
      (await stage.stream()).goaway(700);
      const [, second] = await stage.watches(2, 700 + slackMs);
      assert.ok(second);
      atLeast(second.at - told, 700, 'the next stream came');
      await until(slackMs, () => (stage.broker.open.size === 1 ? undefined : 'the old stream is still open'));
      const again = performance.now();
      (await stage.stream()).goaway(3_600_000);
      const [, , third] = await stage.watches(3, goawayCapMs + slackMs);
      atLeast((third?.at ?? 0) - again, goawayCapMs, 'the next stream came');
      newConnections(stage);
      assert.equal((await stage.ask('stats')).goaways, 2);
    },
  },
  {
    number: 13,
    name: 'a clean end, again and again',
    alone: true,
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      const cpu = cpuMs(stage);
      const began = performance.now();
      broker.onWatch = (watch, request) => {
        broker.tell(watch, request);
        watch.end();
      };
      (await stage.stream()).end();
      await pause(5_000);
      const share = (cpuMs(stage) - cpu) / (performance.now() - began);
      const { length } = broker.of('watch');
      assert.ok(length >= 4 && length <= 45, `${length} streams in 5 s`);
      assert.ok(share < 0.05, `${(share * 100).toFixed(1)} % of a CPU`);
      stage.figures['CPU %'] = share * 100;
    },
  },
  {
    number: 14,
    name: 'one heartbeat, then a reset, again and again',
    async play(stage) {
      const { broker } = stage;
      const [lifeMs, backoffCapMs] = [500, 6_000];
      await begin(stage, 'a', 1n, { timing: { lifeMs, backoffCapMs } });
      broker.onWatch = (watch, request) => {
        broker.tell(watch, request);
        setTimeout(() => stage.box.reset(), 30);
      };
      stage.box.reset();
      const began = performance.now();
      await pause(4_000);
      const { length } = broker.of('watch');
      assert.ok(length >= 4 && length <= 30, `${length} streams in ${Math.round(performance.now() - began)} ms`);
      assert.equal((await stage.ask('token')).generation, '1');
      broker.onWatch = (watch, request) => broker.tell(watch, request);
      // Each pause is short again, where one that grew would be drawn from up to six seconds: all of them together tell.
      let pauses = 0;
      for (let good = 0; good < 5; good++) {
        await until(backoffCapMs + slackMs, () => (broker.open.size > 0 ? undefined : 'no stream is open'));
        await pause(lifeMs + 100);
        const lost = performance.now();
        const count = broker.of('watch').length;
        stage.box.reset();
        const next = (await stage.watches(count + 1, backoffCapMs + slackMs)).at(-1);
        pauses += (next?.at ?? Infinity) - lost;
      }
      atMost(pauses, 5 * timing.backoffBaseMs + slackMs, 'after five good streams, it came back');
    },
  },
  {
    number: 15,
    name: '40 clients lose the broker',
    async play(stage) {
      const { broker } = stage;
      broker.states.set(app, broker.state(app, 1n));
      stage.box.refuses = true;
      await stage.create({ startOptional: true, timing: { backoffCapMs: 200 } }, 'capped');
      await until(12 * 200 + slackMs, () =>
        stage.box.arrivals.length >= 12 ? undefined : `only ${stage.box.arrivals.length} of 12 attempts came`,
      );
      await stage.ask('close', { client: 'capped' });
      stage.box.refuses = false;
      const wide = { timing: { backoffBaseMs: 1_500, backoffCapMs: 1_500, silenceMs: 6_000 } };
      const names = Array.from({ length: 40 }, (_, index) => `c${index}`);
      for (const name of names) await stage.create(wide, name);
      await stage.watches(40);
      const count = stage.box.arrivals.length;
      const lost = performance.now();
      stage.box.reset();
      await stage.watches(80, 1_500 + slackMs);
      const gaps = stage.box.arrivals
        .slice(count, count + 40)
        .map((at) => at - lost)
        .toSorted((a, b) => a - b);
      atMost(gaps.at(-1) ?? Infinity, 1_500 + slackMs, 'the last came back');
      const slots = new Set(gaps.map((gap) => Math.floor(gap / 150)));
      assert.ok(slots.size >= 6, `they came back in ${slots.size} of 10 slots`);
      const early = gaps.filter((gap) => gap < 500).length;
      assert.ok(early >= 3 && early <= 30, `${early} of 40 came in the first third`);
    },
  },
  {
    number: 16,
    name: 'RetryInfo is waited for',
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      broker.onWatch = (watch) => watch.end(refusal(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', { retryMs: 1_200 }));
      (await stage.stream()).end(refusal(Code.ResourceExhausted, 'TOO_MANY_WATCHERS', { retryMs: 1_200 }));
      const began = performance.now();
      const [, second, third] = await stage.watches(3, 2 * 1_440 + 2 * slackMs);
      assert.ok(second && third);
      atLeast(second.at - began, 1_150, 'the next stream came');
      atLeast(third.at - second.at, 1_200, 'the next stream came');
      atMost(third.at - second.at, 1_440 + slackMs, 'the next stream came');
      assert.equal((await stage.ask('token')).generation, '1');
    },
  },
  {
    number: 17,
    name: 'unauthenticated, then cured',
    async play(stage) {
      const { broker } = stage;
      const keyFile = join(stage.folder, 'key');
      const key = (name: string) => `${canary}-key-${name}`;
      const bearerId = (name: string) => idOf(`Bearer ${key(name)}`);
      await writeFile(keyFile, `${key('old')}\n`);
      await begin(stage, 'a', 1n, { keyFile });
      broker.onWatch = (watch, request) => {
        if (watch.entry.shown === bearerId('new')) broker.tell(watch, request);
        else watch.end(refusal(Code.Unauthenticated, 'CREDENTIALS_INVALID'));
      };
      const began = performance.now();
      (await stage.stream()).end(refusal(Code.Unauthenticated, 'CREDENTIALS_INVALID'));
      const [first, second, third] = await stage.watches(3, slowMs * 3 * 1.2 + 2 * slackMs);
      assert.ok(first && second && third);
      assert.equal(first.shown, bearerId('old'));
      atLeast(second.at - began, slowMs - 50, 'the next stream came');
      atLeast(third.at - second.at, 2 * slowMs, 'the one after it came');
      assert.equal((await stage.ask('token')).generation, '1', 'the token is served meanwhile');
      await writeFile(keyFile, `${key('new')}\n`);
      broker.rotate(app);
      await stage.held(2, slowCapMs * 1.2 + slackMs);
      // One that expired while it was used is another thing: the next attempt comes soon.
      const count = broker.of('watch').length;
      const expired = performance.now();
      (await stage.stream()).end(refusal(Code.Unauthenticated, 'CREDENTIALS_EXPIRED'));
      const next = (await stage.watches(count + 1, slackMs)).at(-1);
      atMost((next?.at ?? Infinity) - expired, slowMs - 100, 'after CREDENTIALS_EXPIRED the next stream came');
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
    number: 21,
    name: 'call: each outcome and error',
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      assert.equal((await stage.ask('call', { script: ['ok'] })).attempts, 1);
      assert.equal(broker.of('report').length, 0);
      for (const outcome of [REFRESHED, JOINED, ALREADY_NEWER]) {
        broker.onReport = () => ({ outcome, state: broker.rotate(app), serverTime: timestampFromMs(Date.now()) });
        const old = broker.stateOf(app).current?.id;
        const { attempts, tokenIds } = await stage.ask('call', { script: ['40001', 'ok'] });
        assert.equal(attempts, 2);
        assert.deepEqual(tokenIds, [old, broker.stateOf(app).current?.id], 'the tokens of the attempts');
        assert.ok(
          [old, String(broker.stateOf(app).generation - 1n)].includes(broker.of('report').at(-1)?.rejected),
          'the refused token is named',
        );
      }
      for (const code of ['40014', '42001'])
        assert.equal((await stage.ask('call', { script: [code, 'ok'] })).attempts, 2);
      await fails(stage.ask('call', { script: ['40001', '42001'] }), 'Rejected', { code: '42001', attempts: 2 });

      const reports = broker.of('report').length;
      const other = await refused(stage.ask('call', { script: ['45009', 'ok'] }));
      assert.deepEqual([other.code, other.attempts], ['45009', 1], 'another errcode is passed on');
      assert.equal(broker.of('report').length, reports, 'and not reported');

      broker.onReport = () => ({
        outcome: REFRESHED,
        state: broker.stateOf(app),
        serverTime: timestampFromMs(Date.now()),
      });
      await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', { attempts: 1, code: '40001' });

      const { generation } = await stage.ask('token');
      broker.rotate(app);
      await stage.held(BigInt(generation) + 1n);
      const before = broker.of('report').length;
      const newer = await stage.ask('report', { generation });
      assert.equal(newer.outcome, 'NEWER_HELD');
      assert.equal(broker.of('report').length, before, 'a newer token is held: no call');

      for (const [code, reason] of [
        [Code.Unavailable, 'UPSTREAM_UNREACHABLE'],
        [Code.ResourceExhausted, 'COOLDOWN'],
      ] as const) {
        broker.onReport = () => {
          throw refusal(code, reason, { retryMs: reason === 'COOLDOWN' ? 20_000 : 10 });
        };
        const began = performance.now();
        await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', { attempts: 1, code: '40001' });
        atMost(performance.now() - began, slackMs, `with ${reason} the call was over`);
        await pause(50);
        await fails(stage.ask('report'), 'Rpc', { reason });
      }
      const asked = broker.of('report').length;
      await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', { attempts: 1 });
      assert.equal(broker.of('report').length, asked, 'RetryInfo of a report is kept to');
    },
  },
  {
    number: 22,
    name: '100 callers, one refused token',
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      broker.onReport = async () => {
        await pause(400); // so long that the others meet it
        return { outcome: REFRESHED, state: broker.rotate(app), serverTime: timestampFromMs(Date.now()) };
      };
      const calls = await Promise.all(
        Array.from({ length: 100 }, () => stage.ask('call', { script: ['40001', 'ok'] })),
      );
      assert.deepEqual([...new Set(calls.map(({ attempts }) => attempts))], [2]);
      assert.equal(broker.of('report').length, 1, 'reports');
    },
  },
  {
    number: 23,
    name: 'STILL_VALID',
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      broker.onReport = () => ({
        outcome: STILL_VALID,
        state: broker.stateOf(app),
        serverTime: timestampFromMs(Date.now()),
      });
      const { id } = broker.stateOf(app).current ?? {};
      const error = await fails(stage.ask('call', { script: ['40001', 'ok'] }), 'Rejected', {
        attempts: 1,
        code: '40001',
      });
      assert.deepEqual(error.tokenIds, [id]);
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
  {
    number: 25,
    name: 'close at any time, twice',
    async play(stage) {
      const { broker, box } = stage;
      await begin(stage, 'warm');
      await stage.ask('close', { client: 'warm' });
      const before = await stage.ask('leaks');
      const closes = async (client: string) => {
        const ms = await took(Promise.all([stage.ask('close', { client }), stage.ask('close', { client })]));
        atMost(ms, 2_000, `${client} was closed`);
        await stage.ask('close', { client });
        await fails(stage.ask('token', { client }), 'Closed');
      };
      await stage.create({}, 'live');
      const waiter = fails(stage.ask('wait', { client: 'live', generation: '9', timeoutMs: 20_000 }), 'Closed');
      await closes('live');
      await waiter;
      box.deaf = true;
      const slow = { startOptional: true, timing: { connectMs: 20_000, silenceMs: 20_000 } };
      await stage.create(slow, 'connecting');
      await closes('connecting');
      box.deaf = false;
      box.refuses = true;
      await stage.create(
        { startOptional: true, timing: { backoffBaseMs: 20_000, backoffCapMs: 20_000, backoffFloorMs: 15_000 } },
        'backoff',
      );
      await pause(200);
      await closes('backoff');
      box.refuses = false;
      await stage.create({ timing: { callMs: 20_000 } }, 'calling');
      const { promise: never } = Promise.withResolvers<never>();
      broker.onReport = () => never;
      const count = broker.of('report').length;
      const call = refused(stage.ask('call', { client: 'calling', script: ['40001', 'ok'] }));
      await until(slackMs, () => (broker.of('report').length > count ? undefined : 'no report came'));
      await closes('calling');
      assert.ok(['Rejected', 'Closed'].includes((await call).kind), 'a call that was closed fails');
      await stage.noMore(before);
      await until(slackMs, () => (box.connections === 0 ? undefined : `${box.connections} connections are open`));
    },
  },
  {
    number: 26,
    name: 'fork',
    needs: 'fork',
    async play(stage) {
      const { broker } = stage;
      await begin(stage);
      for (const mode of ['hooks', 'none']) {
        const count = broker.of('watch').length;
        const wanted = broker.stateOf(app).generation + 1n;
        const both = stage.ask('fork', { mode, generation: String(wanted), timeoutMs: 10_000 });
        await Promise.race([both, stage.watches(count + 1, 8_000)]);
        broker.rotate(app);
        const { parent, child } = await both;
        assert.deepEqual([parent.generation, child.generation], [String(wanted), String(wanted)], `with ${mode}`);
      }
    },
  },
];

/** Starts a client that holds a token. */
async function begin(
  stage: Stage,
  client = 'a',
  generation = 1n,
  options: Readonly<Record<string, unknown>> = {},
): Promise<TokenState> {
  const state = stage.broker.state(app, generation);
  stage.broker.states.set(app, state);
  await stage.create(options, client);
  const { tokenId, generation: held } = await stage.ask('token', { client });
  assert.deepEqual([tokenId, held], [state.current?.id, String(generation)], 'the token held after the start');
  return state;
}

/** A new token, and what is held once it has come: all that was sent before it has come too. */
async function cycle(stage: Stage) {
  const { generation } = stage.broker.rotate(app);
  return stage.held(generation);
}

/** Asserts that each stream came on a connection of its own. */
function newConnections({ broker }: Stage): void {
  const connections = broker.of('watch').map(({ connection }) => connection);
  assert.equal(new Set(connections).size, connections.length, 'each stream comes on a connection of its own');
}

/** When an app was asked for, by stream or Get. */
function asked({ broker }: Stage, appId: string): number[] {
  return broker.journal.filter(({ apps }) => apps.includes(appId)).map(({ at }) => at);
}

/** The unit of /proc/PID/stat. */
const ticksASecond = Number(execFileSync('getconf', ['CLK_TCK']));

/** The CPU time that a driver has used, in milliseconds. */
function cpuMs({ driver }: Stage): number {
  const fields = readFileSync(`/proc/${driver.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksASecond;
}
