/**
 * Plays the scenarios with the client libraries: `npm run conformance -- [LANGUAGE...] [--only 1,12] [--drivers FILE] [--quick]`.
 * README.md beside this file says what a driver is. `--quick` leaves the figures out. `--broken` plays the reference driver instead: whole, and then with each
 * rule broken, which the scenarios that its switch names must catch. A library whose toolchain is missing is named and left out; with
 * CI=true that is a failure. The last line is `N passed, N failed`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root, runStep } from '../support/foreign.ts';
import { canary } from './broker.ts';
import type { DriverCommand } from './driver.ts';
import { growth, measure, redisGetNs } from './figures.ts';
import { realBroker } from './real-broker.ts';
import { switches } from './reference/switches.ts';
import { scenarios } from './scenarios/all.ts';
import type { Scenario } from './scenarios/scenario.ts';
import { type Figures, Stage } from './stage.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    broken: { type: 'boolean', default: false },
    drivers: { type: 'string', default: join(import.meta.dirname, 'drivers.json') },
  },
});
const all: Readonly<Record<string, DriverCommand>> = JSON.parse(readFileSync(flags.drivers, 'utf8'));
const names = flags.broken ? [] : positionals.length > 0 ? positionals : Object.keys(all);
const only = flags.only?.split(',').map(Number);
const wanted = [...scenarios, realBroker].filter(({ number }) => !only || only.includes(number));

/** A scenario that asks for what a driver cannot do. */
const notAsked = 'not asked';

/** A driver that did not start: nothing is said of its rules. */
const notStarted = 'not started';

/** Scenarios that run at once: most of their time is waiting. */
const atOnce = 4;

/** A driver's environment names a proxy that is not there: a library that asks it is lost. */
const env = Object.fromEntries(
  ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'grpc_proxy'].map((name) => [name, 'http://127.0.0.1:9']),
);
env['no_proxy'] = '';
env['NO_PROXY'] = '';

interface Row {
  readonly name: string;
  readonly results: Map<number, string>;
  readonly figures: Figures;
}

let passed = 0;
let failed = 0;
let skipped = 0;
const rows: Row[] = [];
for (const name of names) {
  const command = all[name];
  if (!command) {
    process.stderr.write(`conformance: there is no ${name}: choose from ${Object.keys(all).join(', ')}\n`);
    process.exit(2);
  }
  const row: Row = { name, results: new Map(), figures: {} };
  rows.push(row);
  const problem = await build(name, command);
  if (problem?.isMissing && process.env['CI'] !== 'true') {
    say(`${name}: left out, ${problem.words}`);
    skipped++;
  } else if (problem) {
    say(`${name}: FAILED, ${problem.words}`);
    failed++;
  } else {
    await play(row, command);
  }
}
if (flags.broken) await playBroken();
process.stdout.write(table());
say(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;

async function build(
  name: string,
  { cwd, build: [file, ...args] = [] }: DriverCommand,
): Promise<{ isMissing: boolean; words: string } | undefined> {
  if (file === undefined) return undefined;
  try {
    await runStep(name, [file, ...args], { cwd: join(root, cwd) });
    return undefined;
  } catch (error) {
    const { message, cause } = error as Error;
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    return { isMissing, words: isMissing ? `${file} is not installed` : message };
  }
}

async function play(row: Row, command: DriverCommand): Promise<void> {
  await some(
    wanted.filter(({ alone }) => !alone),
    (scenario) => one(row, command, scenario),
  );
  for (const scenario of wanted.filter(({ alone }) => alone)) await one(row, command, scenario);
  if (only || flags.quick) return;
  await using stage = await Stage.set(row.name, command, env);
  Object.assign(row.figures, await measure(stage));
  row.figures['reads in a Redis GET'] = (await redisGetNs()) / (row.figures['read ns'] ?? NaN);
  const problem = growth(row.figures);
  if (problem) failed++;
  else passed++;
  say(`${row.name}: ${problem ? `FAILED, ${problem}` : 'ok, nothing grows with clients that came and went'}`);
}

/** The reference driver must pass everything, and fail what a switch of its own names. */
async function playBroken(): Promise<void> {
  const driver = (...args: string[]): DriverCommand => ({
    cwd: '.',
    run: [process.execPath, '--disable-warning=ExperimentalWarning', 'test/conformance/reference/driver.ts', ...args],
  });
  flags.quick = true;
  for (const transport of ['grpc', 'connect']) {
    const row: Row = { name: transport, results: new Map(), figures: {} };
    rows.push(row);
    await play(row, driver('--transport', transport));
  }
  const chosen = Object.entries(switches).filter(([name]) => positionals.length === 0 || positionals.includes(name));
  await some(chosen, ([name, numbers]) => catches(name, numbers, driver('--break', name)));
}

/** Does something with each, a few at once. */
async function some<T>(all: readonly T[], work: (each: T) => Promise<void>): Promise<void> {
  const queue = [...all];
  const worker = async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function catches(name: string, numbers: readonly number[], command: DriverCommand): Promise<void> {
  for (const number of numbers) {
    // Scenario 27 looks at all the others: two that handle many values stand for them.
    const played = scenarios.filter((scenario) => (number === 27 ? [9, 21] : [number]).includes(scenario.number));
    const problems = await Promise.all(played.map((scenario) => problemOf(command, name, scenario)));
    const problem = problems.find(
      (each) => each && each !== notAsked && !each.startsWith(notStarted) && (number !== 27 || each.startsWith('27: ')),
    );
    if (problem) passed++;
    else if (problems.includes(notAsked)) skipped++;
    else failed++;
    const words = problem ? 'ok, caught' : problems.includes(notAsked) ? 'not asked' : 'FAILED, not caught';
    say(`${name}: ${words} by ${number}${problem ? `: ${problem.split('\n')[0]}` : ''}`);
  }
}

async function one(row: Row, command: DriverCommand, scenario: Scenario): Promise<void> {
  const problem = await problemOf(command, row.name, scenario, row.figures);
  const words = problem === undefined ? 'ok' : problem === notAsked ? '-' : 'FAILED';
  if (words === 'ok') passed++;
  if (words === 'FAILED') failed++;
  row.results.set(scenario.number, words);
  say(
    `${row.name}: ${problem === notAsked ? `not asked (no ${scenario.needs})` : words}, ${scenario.number} ${scenario.name}`,
  );
  if (words === 'FAILED') say(`    ${problem?.replaceAll('\n', '\n    ')}`);
}

/** What is wrong with a driver, by one scenario. */
async function problemOf(
  command: DriverCommand,
  name: string,
  { needs, play: scenario }: Scenario,
  figures: Figures = {},
): Promise<string | undefined> {
  let stage: Stage | undefined;
  try {
    stage = await Stage.set(name, command, env);
    if (needs !== undefined && !stage.hello.capabilities.includes(needs)) return notAsked;
    await scenario(stage);
    Object.assign(figures, stage.figures);
    const code = await stage.driver.end();
    if (code !== 0) throw new Error(`the driver ended with ${code} when its input ended; ${stage.driver.child.tail()}`);
    return leak(stage);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    return stage ? (leak(stage) ?? (what || 'it failed')) : `${notStarted}: ${what}`;
  } finally {
    await stage?.[Symbol.asyncDispose]();
  }
}

/** Scenario 27. The text is not shown: it would leak what the driver has leaked. */
function leak({ driver: { child } }: Stage): string | undefined {
  return child.output.includes(canary) ? '27: the driver printed a token value or a key' : undefined;
}

/** Scenarios by library, and what was measured. */
function table(): string {
  const cells = [
    ['', ...rows.map(({ name }) => name)],
    ...wanted.map(({ number, name }) => [
      `${String(number).padStart(2)} ${name}`,
      ...rows.map(({ results }) => results.get(number) ?? ''),
    ]),
    ...[...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))].map((figure) => [
      figure,
      ...rows.map(({ figures }) => figures[figure]?.toLocaleString('en', { maximumSignificantDigits: 3 }) ?? ''),
    ]),
  ];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
  return `\n${cells.map(line).join('\n')}\n`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
