/** `npm run faults -- [NAME...]`: see CONTRIBUTING.md. A NAME is a part of a scenario's name; none: all. */
import { setTimeout } from 'node:timers/promises';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import { ensureRedis } from '../support/redis.ts';
import { APP, Cluster, TIMES } from './cluster.ts';
import { type Figures, judge } from './judge.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { SILENCE_MS, sharedNow } from './subscribers.ts';

const SUBSCRIBERS = 30;
/** For how long it must stay as it is at the end: a probe finds what was overlooked, and a lease later another replica does. */
const QUIET_MS = TIMES.probeMs + TIMES.leaseMs;

interface Outcome extends Figures {
  readonly scenario: string;
  readonly issuer: IssuerKind;
  readonly mints: number;
  readonly faults: readonly string[];
}

/** The issuers have a machine of two cores between them: most of the time is spent waiting. */
const ISSUERS: readonly IssuerKind[] = ['classic', 'stable'];

async function play(scenario: Scenario, issuer: IssuerKind): Promise<Outcome> {
  const subscribers = scenario.subscribers ?? { count: SUBSCRIBERS };
  await using cluster = await Cluster.start(issuer, subscribers);
  // So that the scenario's refresh is not the first.
  await cluster.converged();
  const before = cluster.mints;
  const known = Math.max(...cluster.subscribers.generations());
  const faults: string[] = [];
  try {
    await scenario.act(cluster);
    // A late mint ends the token that everyone has only when the overlap is over.
    await Promise.all([cluster.converged(), setTimeout(scenario.isLate ? TIMES.overlapMs : 0)]);
    await setTimeout(QUIET_MS);
    await cluster.converged();
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  const mints = cluster.mints - before;
  const tokens = cluster.wechat.wechat.tokens(APP);
  const scope = { count: subscribers.count, known, end: sharedNow() };
  const figures = judge(cluster.subscribers.holdings, tokens, scope);
  const allowedBad = issuer === 'stable' ? 0 : (scenario.classicBad?.secondsEach ?? 0) * subscribers.count;
  if (figures.badSeconds > allowedBad) faults.push(`bad-token-seconds above ${allowedBad}`);
  if (figures.bareSeconds > 0) faults.push('subscribers without a token');
  if (figures.falls > 0) faults.push(`generations fell ${figures.falls} times`);
  const [least, most] = scenario.mints[issuer];
  if (mints < least || mints > most) faults.push(`not ${least} to ${most} mints`);
  const allowedBehind = scenario.behindMs ?? SILENCE_MS + TIMES.pollMs + 2_000;
  if (figures.behindMs > allowedBehind) faults.push(`more than ${allowedBehind} ms behind`);
  return { scenario: scenario.name, issuer, ...figures, mints, faults };
}

function row({ scenario, issuer, badSeconds, bareSeconds, mints, behindMs, faults }: Outcome): string {
  const figures = [badSeconds.toFixed(2), bareSeconds.toFixed(2), String(mints), `${Math.round(behindMs)} ms`];
  return line([scenario, issuer, ...figures], faults.length === 0 ? 'ok' : faults.join('; '));
}

/** The name and the issuer, the figures below their heads, and the verdict. */
function line([scenario = '', issuer = '', ...figures]: readonly string[], verdict: string): string {
  return [scenario.padEnd(54), issuer.padEnd(8), ...figures.map((each) => each.padStart(10)), ` ${verdict}`].join(' ');
}

ensureRedis();
const names = process.argv.slice(2);
const chosen = SCENARIOS.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)));
const outcomes: Outcome[] = [];
const begun = performance.now();
await Promise.all(
  ISSUERS.map(async (issuer) => {
    for (const scenario of chosen) {
      const outcome = await play(scenario, issuer);
      process.stderr.write(`${row(outcome)}\n`);
      outcomes.push(outcome);
    }
  }),
);
process.stdout.write(`${line(['scenario', 'issuer', 'bad-token', 'no token', 'mints', 'behind'], 'verdict')}\n`);
for (const { name } of chosen) {
  for (const outcome of outcomes.filter(({ scenario }) => scenario === name)) process.stdout.write(`${row(outcome)}\n`);
}
const bad = outcomes.filter(({ faults }) => faults.length > 0).length;
const seconds = Math.round((performance.now() - begun) / 1_000);
process.stdout.write(`${outcomes.length - bad} passed, ${bad} failed in ${seconds} s\n`);
process.exitCode = bad > 0 ? 1 : 0;
