import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { end } from './child.ts';

/** The root of this repository. */
export const root = join(import.meta.dirname, '../..');

const run = promisify(execFile);

/** A command and its arguments. */
export type Command = readonly [string, ...string[]];

/** A program that is not of this repository's language or packages: what it needs and how it is built. */
export interface Foreign {
  readonly name: string;
  readonly folder: string;
  /** Each tool with what says its version, and the least version that will do. */
  readonly tools: readonly { readonly command: Command; readonly atLeast: readonly [number, number] }[];
  /** Run in the folder, one after the other. */
  readonly build: readonly Command[];
}

/** The steps of a virtual environment in `.venv` with what requirements.txt pins. */
export const venv: readonly Command[] = [
  ['python3', '-m', 'venv', '.venv'],
  ['.venv/bin/python', '-m', 'pip', 'install', '--quiet', '--requirement', 'requirements.txt'],
];

/** What is missing to build it, in words; undefined when nothing is. */
async function missing(foreign: Foreign): Promise<string | undefined> {
  for (const { command, atLeast } of foreign.tools) {
    const [file, ...args] = command;
    const wanted = `${file} ${atLeast.join('.')} or newer`;
    const answer = await run(file, args).catch(() => undefined);
    if (!answer) return `${wanted} is not installed`;
    const [, major, minor = '0'] = /(\d+)\.(\d+)/.exec(`${answer.stdout}${answer.stderr}`) ?? [];
    const enough = Number(major) > atLeast[0] || (Number(major) === atLeast[0] && Number(minor) >= atLeast[1]);
    if (!enough) return `${wanted} is needed, ${major ?? '?'}.${minor} is installed`;
  }
  return undefined;
}

/** The folders that were built. */
const built = new Set<string>();

/** Builds it into the ignored folders beside its source, once where two share them. Rejects with what the failed step printed. */
async function build({ name, folder, build: steps }: Foreign): Promise<void> {
  if (built.has(folder)) return;
  // `go generate` calls buf, which is one of this repository's own tools.
  const bin = join(root, 'node_modules/.bin');
  const { PATH = '' } = process.env;
  const env = { ...process.env, PATH: `${bin}${delimiter}${PATH}` };
  for (const step of steps) {
    if (step === venv[0] && existsSync(join(folder, '.venv'))) continue;
    await runStep(name, step, { cwd: folder, env });
  }
  built.add(folder);
}

/** Runs a command, and gives what it printed. Rejects with the end of that; its cause is what execFile rejected with. */
export async function runStep(
  name: string,
  [file, ...args]: Command,
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly timeout?: number },
): Promise<string> {
  try {
    const { stdout, stderr } = await run(file, args, { ...options, maxBuffer: 64 << 20, signal: end });
    return `${stdout}${stderr}`;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const printed = `${stdout}${stderr}`.trimEnd().split('\n').slice(-30).join('\n');
    throw new Error(`${name}: "${[file, ...args].join(' ')}" failed:\n${printed}`, { cause: error });
  }
}

/** A step that passed, and how long it took. */
export type Report = (step: string) => void;

/** What is done with programs of one kind. */
export interface Trial<F extends Foreign> {
  /** How they are called in a message: the name of a command. */
  readonly name: string;
  readonly all: readonly F[];
  /** Takes a built one through all that is checked; rejects with the first thing that is wrong. */
  readonly check: (foreign: F, report: Report) => Promise<void>;
  /** How many are checked beside one another, each built in its turn. Default 1; more for checks that wait more than they work. */
  readonly atOnce?: number;
}

interface Result {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'left out';
  /** Seconds; absent for a part that was not reached. */
  readonly build?: number;
  readonly run?: number;
}

const { CI } = process.env;
const strict = CI === 'true';

/**
 * Builds and checks those that the command line names, or all; prints what came of it. One whose toolchain is missing is named
 * and left out; with `CI=true` in the environment that is a failure. Sets the exit code: 0 where every one that was run passed.
 */
export async function tryForeign<F extends Foreign>(trial: Trial<F>, names: readonly string[]): Promise<void> {
  const all = chosen(trial, names);
  const results: Result[] = [];
  const queue = [...all.entries()];
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await tryOne(trial, next[1]);
  };
  await Promise.all(Array.from({ length: trial.atOnce ?? 1 }, worker));
  process.stdout.write(table(results));
  const bad = results.some(({ outcome }) => outcome === 'failed' || (strict && outcome === 'left out'));
  process.exitCode = bad ? 1 : 0;
}

async function tryOne<F extends Foreign>({ check }: Trial<F>, foreign: F): Promise<Result> {
  const { name } = foreign;
  const lacking = await missing(foreign);
  if (lacking) {
    say(`${name}: left out, ${lacking}${strict ? ' (a failure, since CI=true)' : ''}`);
    return { name, outcome: 'left out' };
  }
  const times: { build?: number; run?: number } = {};
  try {
    times.build = await inTurn(() => {
      say(`${name}: building`);
      return timed(() => build(foreign));
    });
    say(`${name}: built in ${times.build.toFixed(1)} s`);
    times.run = await timed(() => check(foreign, (step) => say(`${name}: ok, ${step}`)));
    return { name, outcome: 'passed', ...times };
  } catch (error) {
    say(`${name}: FAILED, ${error instanceof Error ? error.message : String(error)}`);
    return { name, outcome: 'failed', ...times };
  }
}

let turn: Promise<unknown> = Promise.resolve();

/** Does one thing after the other. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const done = turn.then(work);
  turn = done.catch(() => {});
  return done;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function chosen<F extends Foreign>({ name: trial, all }: Trial<F>, names: readonly string[]): readonly F[] {
  const unknown = names.filter((name) => !all.some((foreign) => foreign.name === name));
  if (unknown.length > 0) {
    const known = all.map(({ name }) => name).join(', ');
    process.stderr.write(`${trial}: there is no ${unknown.join(', ')}: choose from ${known}\n`);
    process.exit(2);
  }
  return all.filter(({ name }) => names.length === 0 || names.includes(name));
}

function table(rows: readonly Result[]): string {
  const seconds = (value: number | undefined) => (value === undefined ? '-' : `${value.toFixed(1)} s`);
  const lines = rows.map(({ name, outcome, build, run }) => [name, outcome, seconds(build), seconds(run)]);
  const all = [['name', 'outcome', 'build', 'run'], ...lines];
  const width = Math.max(...all.flat().map((cell) => cell.length));
  const text = all
    .map((cells) =>
      cells
        .map((cell) => cell.padEnd(width))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
  const count = (outcome: Result['outcome']) => rows.filter((row) => row.outcome === outcome).length;
  return `\n${text}\n\n${count('passed')} passed, ${count('failed')} failed, ${count('left out')} skipped\n`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
