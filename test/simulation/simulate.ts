import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { clockTime } from './history.ts';
import { scenarioOf } from './scenario.ts';
import { type Report, Simulation } from './simulation.ts';
import { RULES } from './validator.ts';

/*
 * Plays simulated days of replicas that share a store, one for each seed, while everything around them fails, and checks what
 * must hold whatever happens (validator.ts).
 *
 *     npm run simulate -- [--seeds N] [--from S]     the seeds S, S + 1, ... (default: 20, from 1)
 *     npm run simulate -- --seed S [--trace]         one seed again; --trace prints all that happens
 *
 * Exits 0 when every seed passed, 1 when one broke a rule, 2 on arguments that make no sense.
 */

/** Failing seeds that are told in full. */
const TOLD_IN_FULL = 3;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '20' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const startedAt = performance.now();
const reports = values.seed === undefined ? await playMany(whole('from', 0), whole('seeds', 1)) : [await playOne()];
summarize(reports);
process.exitCode = reports.some(({ violations }) => violations.length > 0) ? 1 : 0;

/** An option's whole number; ends the process where it is none. */
function whole(name: 'seeds' | 'from' | 'seed', least: number): number {
  const text = values[name] ?? '';
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least && /^\d+$/.test(text)) return value;
  console.error(`--${name} must be a whole number from ${least} on, and is "${text}"`);
  process.exit(2);
}

async function playOne(): Promise<Report> {
  const listen = values.trace ? (line: string) => console.log(line) : undefined;
  const report = await new Simulation(scenarioOf(whole('seed', 0)), listen).play();
  tell(report, !values.trace);
  console.log(`seed ${report.seed}: trace ${report.hash}`);
  return report;
}

/** Plays seeds in as many threads as there are cores, each taking the next when it is done. */
async function playMany(from: number, count: number): Promise<Report[]> {
  const done: Report[] = [];
  let next = from;
  let failures = 0;
  const lane = async () => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    let answer: (report: Report) => void = () => undefined;
    let fail: (error: unknown) => void = () => undefined;
    worker.on('message', (report) => answer(report)).on('error', (error) => fail(error));
    while (next < from + count) {
      const { promise, resolve, reject } = Promise.withResolvers<Report>();
      answer = resolve;
      fail = reject;
      worker.postMessage(next++);
      const report = await promise;
      done.push(report);
      if (report.violations.length > 0) tell(report, ++failures <= TOLD_IN_FULL);
    }
    await worker.terminate();
  };
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), count) }, lane));
  return done.toSorted((a, b) => a.seed - b.seed);
}

/** Says what was wrong with a seed, and what happened before. */
function tell({ seed, violations, lines }: Report, inFull: boolean): void {
  const [first] = violations;
  if (!first) return;
  if (inFull) {
    console.log(`\nseed ${seed}: what happened before ${clockTime(first.at)}`);
    for (const line of lines) console.log(line);
  }
  console.log(`\nseed ${seed} breaks ${violations.length} rules; again: npm run simulate -- --seed ${seed}`);
  for (const { rule, at, what } of violations) console.log(`  ${clockTime(at)}  ${rule} (${RULES[rule]}): ${what}`);
}

function summarize(all: readonly Report[]): void {
  const sum = (of: (report: Report) => number) => all.reduce((total, report) => total + of(report), 0);
  const broken = new Map<string, number>();
  for (const { violations } of all) {
    for (const rule of new Set(violations.map((each) => each.rule))) broken.set(rule, (broken.get(rule) ?? 0) + 1);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const failed = all.filter(({ violations }) => violations.length > 0).length;
  const hours = Math.round(sum(({ lengthMs }) => lengthMs) / 3_600_000);
  const bad = (issuer: 'classic' | 'stable') => Math.round(sum(({ badMs }) => badMs[issuer]) / 1000);
  console.log(
    `\n${all.length} seeds, ${hours} simulated hours in ${seconds.toFixed(1)} s: ${failed} broke a rule` +
      `${[...broken].map(([rule, count]) => `, ${rule} in ${count}`).join('')}; ` +
      `bad-token-seconds: classic ${bad('classic')}, stable ${bad('stable')}; ${sum(({ mints }) => mints)} mints`,
  );
}
