import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { TokenStatus } from '../../../src/gen/lingpai/v1/token_pb.js';
import { refusal } from '../../support/scripted.ts';
import { until } from '../../support/until.ts';
import { app, atLeast, atMost, fails, type Stage, slackMs, timing, took } from '../stage.ts';
import { begin, reopenMs, type Scenario } from './scenario.ts';

const { backoffCapMs, appRetryMs } = timing;

/** The start, and apps that the broker does not know (R4, R10). */
export const start: readonly Scenario[] = [
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
];

/** When an app was asked for, by stream or Get. */
function asked({ broker }: Stage, appId: string): number[] {
  return broker.journal.filter(({ apps }) => apps.includes(appId)).map(({ at }) => at);
}
