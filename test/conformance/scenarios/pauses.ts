import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Code } from '@connectrpc/connect';
import { idOf, refusal } from '../../support/scripted.ts';
import { until } from '../../support/until.ts';
import { canary } from '../broker.ts';
import { app, atLeast, atMost, type Stage, slackMs, timing } from '../stage.ts';
import { begin, type Scenario } from './scenario.ts';

const { slowMs, slowCapMs } = timing;

/** Between streams: pauses, RetryInfo, the slow lane (R5, R8, R9). */
export const pauses: readonly Scenario[] = [
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
];

/** The unit of /proc/PID/stat. */
const ticksASecond = Number(execFileSync('getconf', ['CLK_TCK']));

/** The CPU time that a driver has used, in milliseconds. */
function cpuMs({ driver }: Stage): number {
  const fields = readFileSync(`/proc/${driver.child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksASecond;
}
