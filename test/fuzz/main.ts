/** `npm run fuzz -- [PART...] [--inputs N] [--seed N] [--at N]`: see CONTRIBUTING.md. A PART is of a target's name; none: all. */
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { TARGETS } from './targets.ts';
import type { Plan, Report } from './worker.ts';

const INPUTS = 1_000_000;
/** Targets that are played at once, each in a thread of its own. */
const LANES = 2;
/** A target that takes no further input for so long hangs. */
const PATIENCE_MS = 30_000;
/** The heap within which a target must do with what it is sent. */
const HEAP_MIB = 512;

const options = { inputs: { type: 'string' }, seed: { type: 'string' }, at: { type: 'string' } } as const;
const { values, positionals } = parseArgs({ options, allowPositionals: true });
const inputs = Number(values.inputs ?? INPUTS);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const chosen = TARGETS.filter(
  ({ name }) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
);
const shares = chosen.reduce((sum, { share }) => sum + share, 0);

/** Plays one target in a thread of its own, so that neither its crash nor its loop is ours. Resolves with what is wrong. */
function play(plan: Plan): Promise<readonly string[]> {
  return new Promise((resolve) => {
    // The input that was taken last, and how many are done.
    const progress = new Int32Array(plan.progress);
    const worker = new Worker(new URL('worker.ts', import.meta.url), {
      workerData: plan,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    let last = -1;
    let lastAt = performance.now();
    const looking = setInterval(() => {
      const at = Atomics.load(progress, 0);
      if (at !== last) [last, lastAt] = [at, performance.now()];
      if (performance.now() - lastAt < PATIENCE_MS) return;
      settle([`input ${at}: it hangs`]);
    }, 500);
    const settle = (faults: readonly string[]) => {
      clearInterval(looking);
      resolve(faults);
      void worker.terminate();
    };
    worker.once('message', ({ faults }: Report) => settle(faults));
    worker.once('error', (error) =>
      settle([`input ${Atomics.load(progress, 0)}: it crashes: ${error.stack ?? error}`]),
    );
    worker.once('exit', (code) =>
      settle([`input ${Atomics.load(progress, 0)}: the process would have ended with ${code}`]),
    );
  });
}

process.stdout.write(`seed ${seed}\n`);
let passed = 0;
let failed = 0;
const waiting = chosen.values();
/** Plays one target after the other. */
async function lane(): Promise<void> {
  for (const { name, share } of waiting) {
    const count = Math.max(1, Math.round((inputs * share) / shares));
    const [from, to] = values.at === undefined ? [0, count] : [Number(values.at), Number(values.at) + 1];
    const begun = performance.now();
    const faults = await play({ name, seed, from, to, progress: new SharedArrayBuffer(4) });
    const seconds = ((performance.now() - begun) / 1_000).toFixed(1);
    const verdict = [`${to - from} inputs in ${seconds} s: ${faults.length === 0 ? 'ok' : 'FAILED'}`, ...faults];
    process.stdout.write(`${name}: ${verdict.join('\n    ')}\n`);
    if (faults.length === 0) passed += to - from;
    else failed += faults.length;
  }
}
await Promise.all(Array.from({ length: LANES }, lane));
if (failed > 0) process.stdout.write(`one input again: npm run fuzz -- TARGET --seed ${seed} --at INPUT\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 ? 1 : 0;
