import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../../support/until.ts';
import { app, atLeast, atMost, type Stage, slackMs, timing } from '../stage.ts';
import { begin, reopenMs, type Scenario } from './scenario.ts';

const { silenceMs, goawayCapMs } = timing;

/** A stream on its connection: the watchdog, and goaway (R6, R7). */
export const connection: readonly Scenario[] = [
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
      // The silence is counted from the attempt's start, which the first connection may be late to show.
      atLeast(second.at - (stage.box.arrivals[0] ?? Infinity), silenceMs - 200, 'the next stream came');
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
];

/** Asserts that each stream came on a connection of its own. */
function newConnections({ broker }: Stage): void {
  const connections = broker.of('watch').map(({ connection }) => connection);
  assert.equal(new Set(connections).size, connections.length, 'each stream comes on a connection of its own');
}
