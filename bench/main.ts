/** `npm run bench -- [NAME...] [--quick] [--json FILE]`: see docs/bench.md. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { access } from './access.ts';
import { apps } from './apps.ts';
import { cluster } from './cluster.ts';
import { coldStart } from './cold-start.ts';
import { type Result, table, toResult } from './figure.ts';
import { gateway } from './gateway.ts';
import { get, tls } from './get.ts';
import { hostile } from './hostile.ts';
import { httpWatchers } from './http-watchers.ts';
import { send } from './send.ts';
import { sendFile } from './send-file.ts';
import type { Benchmark } from './setup.ts';
import { watchers } from './watchers.ts';

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  get,
  tls,
  access,
  watchers,
  'http-watchers': httpWatchers,
  apps,
  'cold-start': coldStart,
  send,
  'send-file': sendFile,
  cluster,
  gateway,
  hostile,
};

const USAGE = `usage: npm run bench -- [NAME...] [--quick] [--json FILE]

  NAME         one or more of ${Object.keys(BENCHMARKS).join(', ')}; none: all
  --quick      smaller numbers and fewer rounds: about a minute
  --json FILE  where the results are written as JSON (bench/results/latest.json)
`;

const LATEST = join(import.meta.dirname, 'results/latest.json');

function fail(message: string): never {
  process.stderr.write(`${message}\n\n${USAGE}`);
  process.exit(2);
}

function readArguments() {
  const options = { quick: { type: 'boolean', default: false }, json: { type: 'string', default: LATEST } } as const;
  try {
    return parseArgs({ options, allowPositionals: true });
  } catch (error) {
    return fail((error as Error).message);
  }
}

const { values, positionals } = readArguments();
const chosen = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS);
const unknown = chosen.find((name) => !(name in BENCHMARKS));
if (unknown !== undefined) fail(`there is no benchmark ${unknown}`);
// What else the machine does takes from all figures, and not evenly.
const [loadBefore = 0] = loadavg();

const results: Result[] = [];
for (const name of chosen) {
  const progress = (text: string) => process.stderr.write(`${name}: ${text}\n`);
  const figures = await BENCHMARKS[name]?.({ quick: values.quick, progress });
  results.push(...(figures ?? []).map(toResult));
}

const machine = {
  node: process.version,
  platform: `${platform()} ${arch()}`,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  loadBefore,
};
const report = { time: new Date().toISOString(), quick: values.quick, machine, results };
const file = resolve(values.json);
mkdirSync(dirname(file), { recursive: true });
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
process.stdout.write(`${table(results)}\n\n`);
if (loadBefore > machine.cores / 2) {
  process.stdout.write(
    `The machine was busy before it began (load ${loadBefore.toFixed(1)}): do not trust these figures.\n`,
  );
}
process.stdout.write(`Written to ${file}\n`);
