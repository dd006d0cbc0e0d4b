import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../support/until.ts';
import { app, atMost, fails, refused, slackMs, took } from '../stage.ts';
import { begin, type Scenario } from './scenario.ts';

/** The end of a client, and a fork of its process (R15, R16). */
export const end: readonly Scenario[] = [
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
