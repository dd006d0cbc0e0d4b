/**
 * Plays the scenarios with the client libraries: `npm run conformance -- [LANGUAGE...] [--only 1,12] [--drivers FILE] [--quick]`.
 * README.md beside this file says what a driver is. `--quick` leaves the figures out. A library whose toolchain is missing is named and left out; with
 * CI=true that is a failure. The last line is `N passed, N failed`.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { root } from '../support/foreign.ts';
import { canary } from './broker.ts';
import type { DriverCommand } from './driver.ts';
import { measure, redisGetNs } from './figures.ts';
import { realBroker } from './real-broker.ts';
import { type Scenario, scenarios } from './scenarios.ts';
import { type Figures, Stage } from './stage.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    drivers: { type: 'string', default: join(import.meta.dirname, 'drivers.json') },
  },
});
const all: Readonly<Record<string, DriverCommand>> = JSON.parse(readFileSync(flags.drivers, 'utf8'));
const names = positionals.length > 0 ? positionals : Object.keys(all);
const only = flags.only?.split(',').map(Number);
const wanted = [...scenarios, realBroker].filter(({ number }) => !only || only.includes(number));

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
  const problem = await build(command);
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
process.stdout.write(table());
say(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 ? 1 : 0;

async function build({ cwd, build: argv }: DriverCommand): Promise<{ isMissing: boolean; words: string } | undefined> {
  const [file, ...args] = argv ?? [];
  if (file === undefined) return undefined;
  try {
    await promisify(execFile)(file, args, { cwd: join(root, cwd), maxBuffer: 64 << 20 });
    return undefined;
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT') return { isMissing: true, words: `${file} is not installed` };
    return { isMissing: false, words: `"${[file, ...args].join(' ')}" failed:\n${stdout}${stderr}` };
  }
}

async function play(row: Row, command: DriverCommand): Promise<void> {
  const queue = wanted.filter(({ alone }) => !alone);
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await one(row, command, next);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  for (const scenario of wanted.filter(({ alone }) => alone)) await one(row, command, scenario);
  if (only || flags.quick) return;
  await using stage = await Stage.set(row.name, command, env);
  Object.assign(row.figures, await measure(stage));
  row.figures['of a Redis GET'] = (await redisGetNs()) / (row.figures['read ns'] ?? NaN);
}

async function one(row: Row, command: DriverCommand, { number, name, needs, play: scenario }: Scenario): Promise<void> {
  const done = (result: string, words: string) => {
    row.results.set(number, result);
    say(`${row.name}: ${words}, ${number} ${name}`);
  };
  try {
    await using stage = await Stage.set(row.name, command, env);
    if (needs !== undefined && !stage.hello.capabilities.includes(needs)) {
      done('-', `not asked (no ${needs})`);
      return;
    }
    await scenario(stage);
    Object.assign(row.figures, stage.figures);
    const code = await stage.driver.end();
    if (code !== 0) throw new Error(`the driver ended with ${code} when its input ended; ${stage.driver.child.tail()}`);
    // Scenario 27.
    if (stage.driver.child.output.includes(canary)) throw new Error('27: the driver printed a token value or a key');
    passed++;
    done('ok', 'ok');
  } catch (error) {
    failed++;
    done('FAILED', 'FAILED');
    say(`    ${String(error instanceof Error ? error.message : error).replaceAll('\n', '\n    ')}`);
  }
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
