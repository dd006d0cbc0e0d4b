/** `npm run faults -- [NAME...]`: see CONTRIBUTING.md. A NAME is a part of a scenario's name; none: all. */
import { setTimeout } from 'node:timers/promises';
import type { IssuerKind } from '../../src/core/ports.ts';
import { ensureRedis } from '../support/redis.ts';
import { APP, Cluster, CONVERGED_MS, TIMES } from './cluster.ts';
import { type Figures, judge } from './judge.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';
import { SILENCE_MS, sharedNow } from './subscribers.ts';

const SUBSCRIBERS = 30;
/**
 * What classic tokens may cost. Of three tokens that are minted within the overlap WeChat honours two: whoever has the other
 * one has a dead token until the newest has reached it. That takes a commit and a push: half a second each is plenty.
 */
const CLASSIC_BAD_SECONDS_EACH = 0.5;

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
    // Whatever is still to be confirmed, or to be found out by a probe, has been by then.
    await setTimeout(CONVERGED_MS);
    await cluster.converged();
  } catch (error) {
    faults.push(error instanceof Error ? error.message : String(error));
  }
  const mints = cluster.mints - before;
  const held = cluster.subscribers.holdings;
  const figures = judge(held, cluster.wechat.wechat.tokens(APP), sharedNow());
  // What each had when it began is not what it is measured by, though it may be sent again with another status.
  const { behindMs } = judge(
    held.filter(({ generation }) => generation > known),
    [],
    sharedNow(),
  );
  const allowedBad =
    issuer === 'stable' ? 0 : (scenario.badSecondsEach ?? CLASSIC_BAD_SECONDS_EACH) * subscribers.count;
  if (figures.badSeconds > allowedBad) faults.push(`bad-token-seconds above ${allowedBad}`);
  if (mints > scenario.mints[issuer]) faults.push(`more than ${scenario.mints[issuer]} mints`);
  const allowedBehind = scenario.behindMs ?? SILENCE_MS + TIMES.pollMs + 2_000;
  if (behindMs > allowedBehind) faults.push(`more than ${allowedBehind} ms behind`);
  return { scenario: scenario.name, issuer, badSeconds: figures.badSeconds, behindMs, mints, faults };
}

function row({ scenario, issuer, badSeconds, mints, behindMs, faults }: Outcome): string {
  const cells = [scenario.padEnd(54), issuer.padEnd(8), badSeconds.toFixed(2).padStart(9), String(mints).padStart(6)];
  return [
    ...cells,
    `${Math.round(behindMs)} ms`.padStart(10),
    ` ${faults.length === 0 ? 'ok' : faults.join('; ')}`,
  ].join(' ');
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
const head = [
  'scenario'.padEnd(54),
  'issuer'.padEnd(8),
  'bad-token'.padStart(9),
  'mints'.padStart(6),
  'behind'.padStart(10),
];
process.stdout.write(`${head.join(' ')}  verdict\n`);
for (const { name } of chosen) {
  for (const outcome of outcomes.filter(({ scenario }) => scenario === name)) process.stdout.write(`${row(outcome)}\n`);
}
const bad = outcomes.filter(({ faults }) => faults.length > 0).length;
const seconds = Math.round((performance.now() - begun) / 1_000);
process.stdout.write(`${outcomes.length - bad} passed, ${bad} failed in ${seconds} s\n`);
process.exitCode = bad > 0 ? 1 : 0;
