import { describe, expect, it } from 'vitest';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import type { Blow, Fault, Scenario } from './scenario.ts';
import { Simulation } from './simulation.ts';
import { STEPS, type Step } from './steps.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** Short scenes, each with one thing that goes wrong, again and again: what the days of the seeds meet by chance. */
function scene(issuer: IssuerKind, tries: readonly (readonly Fault[])[], seed: number): Scenario {
  const operator: Fault = { kind: 'operator', app: 0, host: seed % 3 };
  return {
    seed,
    lengthMs: (4 + 20 * tries.length) * MINUTE,
    hosts: 3,
    issuers: [issuer],
    lifetimeMs: 120 * MINUTE,
    pollMs: 2 * SECOND,
    leaseMs: 15 * SECOND,
    dailyBudget: 1000,
    forceDailyBudget: 200,
    episodes: tries.map((faults, i) => {
      const beginAt = (5 + 20 * i) * MINUTE;
      const planned = faults.map((fault) => ({ afterMs: 0, fault }));
      return {
        beginAt,
        healAt: beginAt + 6 * MINUTE,
        calmAt: beginAt + 17 * MINUTE,
        faults: [...planned, { afterMs: 10 * SECOND, fault: operator }],
        trial: faults.length === 1 ? 0 : undefined,
      };
    }),
  };
}

/** The rules that a scene breaks, by three seeds. */
async function broken(issuer: IssuerKind, tries: readonly (readonly Fault[])[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const seed of [1, 2, 3]) {
    const { violations } = await new Simulation(scene(issuer, tries, seed)).play();
    found.push(...violations.map(({ rule, what }) => `${rule}: ${what}`));
  }
  return found;
}

/** The blow at each of these steps, short and long. */
function ambushes(steps: readonly Step[], blow: Blow, seconds: readonly number[]): Fault[][] {
  return steps.flatMap((step) => seconds.map((s) => [{ kind: 'ambush', app: 0, step, blow, ms: s * SECOND } as const]));
}

const BEFORE_THE_MINT: readonly Step[] = ['intent leaving', 'intent stored', 'intent answered', 'mint leaving'];
const AFTER_THE_MINT: readonly Step[] = ['mint made', 'mint answered', 'outcome leaving', 'outcome stored'];
const SHORT_AND_LONG = [2, 30, 150];

const held = (seconds: number): Fault[] => [{ kind: 'mint held', app: 0, ms: seconds * SECOND }];
const storeRestart = (backMs: number): Fault => ({ kind: 'store restart', backMs, ms: 20 * SECOND });

const clockSet = (minutes: number): Fault[] => [{ kind: 'store clock', byMs: minutes * MINUTE }];

describe.each(['classic', 'stable'] as const)('%s: every subscriber ends on a token that WeChat accepts', (issuer) => {
  it.each<[string, readonly (readonly Fault[])[]]>([
    ['when the leader stands still before its mint', ambushes(BEFORE_THE_MINT, 'pause', SHORT_AND_LONG)],
    ['when the leader stands still after its mint', ambushes(AFTER_THE_MINT, 'pause', SHORT_AND_LONG)],
    ['when the leader dies at a step of its mint', ambushes(STEPS, 'crash', [5, 60])],
    ['when the leader loses the store at a step of its mint', ambushes(STEPS, 'cut from store', [5, 60])],
    ['when the leader loses WeChat at a step of its mint', ambushes(STEPS, 'cut from WeChat', [5, 60])],
    ['when a mint is held up on its way', [2, 8, 30, 90, 180].map(held)],
    ['when the answer to a mint is lost', [[{ kind: 'mint answer lost', app: 0 }]]],
    ['when the store comes back empty', [[storeRestart(Number.POSITIVE_INFINITY)]]],
    ['when the store goes back in time', [[storeRestart(5 * MINUTE)], [storeRestart(30 * MINUTE)]]],
    ['when all replicas are restarted', [[{ kind: 'rolling restart' }], [{ kind: 'rolling restart' }]]],
    ['when hints are lost', [0, 1, 2].map((host) => [{ kind: 'deaf', host, ms: 5 * MINUTE } as const])],
    ['when the clock of the store is set forward, or back', [75, -130, 90, -50, 130].map(clockSet)],
    ['when somebody else mints', [[{ kind: 'outside mint', app: 0 }], [{ kind: 'outside mint', app: 0 }]]],
  ])('%s', async (_, tries) => {
    expect(await broken(issuer, tries)).toEqual([]);
  });
});
