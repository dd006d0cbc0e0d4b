import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { ForceRefreshOutcome } from '../../../src/gen/lingpai/v1/token_pb.js';
import { refusal } from '../../support/scripted.ts';
import { app, atMost, fails, refused, slackMs } from '../stage.ts';
import { begin, type Scenario } from './scenario.ts';

const { REFRESHED, JOINED, ALREADY_NEWER, STILL_VALID } = ForceRefreshOutcome;

/** A refused token: reports and calls (R11, R12). */
export const calls: readonly Scenario[] = [
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
];
