/** Gives one target its inputs, in a thread of its own. */
import { setImmediate } from 'node:timers/promises';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, workerData } from 'node:worker_threads';
import { seeded } from '../support/random.ts';
import { Draw } from './draw.ts';
import type { Opened } from './target.ts';
import { TARGETS } from './targets.ts';

/** What a thread is to do. */
export interface Plan {
  /** The target's. */
  readonly name: string;
  readonly seed: number;
  /** The first input, and the one after the last. */
  readonly from: number;
  readonly to: number;
  /** Room for the number of the input that was taken last. */
  readonly progress: SharedArrayBuffer;
}

/** What came of it. */
export interface Report {
  readonly faults: readonly string[];
}

/** How often it rests, and its heap is looked at; the first rests are for code to become hot and tables to fill. */
const RESTS = 20;
const LEAST_BETWEEN = 200;
const WARM = 5;
/** By how much the heap may have grown from then on to the end. */
const MORE_MIB = 8;
/** One input may take so long. The machine may have other work: it is a fault when it does so once more, alone. */
const SLOW_MS = 1_000;
const MOST_FAULTS = 10;
const MIB = 1024 * 1024;

const plan = workerData as Plan;
setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

async function heapMib(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await setImmediate();
  }
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return (used + external) / MIB;
}

/** What is wrong with an input: thrown, or taken too long. */
async function faultOf(opened: Opened, index: number): Promise<{ words: string; isSlow: boolean } | undefined> {
  const draw = new Draw(seeded(Math.imul(plan.seed, 0x9e3779b1) ^ index));
  const begun = performance.now();
  try {
    await opened.take(draw);
  } catch (error) {
    const words =
      error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join(' ') : `${error}`;
    return { words, isSlow: false };
  }
  const ms = performance.now() - begun;
  return ms > SLOW_MS ? { words: `it takes ${Math.round(ms)} ms`, isSlow: true } : undefined;
}

async function run(): Promise<readonly string[]> {
  const faults: string[] = [];
  const target = TARGETS.find(({ name }) => name === plan.name);
  if (!target) throw new RangeError(`there is no target ${plan.name}`);
  const { atOnce = 1 } = target;
  await using opened = await target.open();
  const progress = new Int32Array(plan.progress);
  const between = Math.max(LEAST_BETWEEN, Math.ceil((plan.to - plan.from) / RESTS));
  const heaps: number[] = [];
  for (let index = plan.from; index < plan.to && faults.length < MOST_FAULTS; index += atOnce) {
    Atomics.store(progress, 0, index);
    const batch = Array.from({ length: Math.min(atOnce, plan.to - index) }, (_, i) => index + i);
    const found = await Promise.all(batch.map((each) => faultOf(opened, each)));
    for (const [i, first] of found.entries()) {
      const fault = first?.isSlow ? await faultOf(opened, index + i) : first;
      if (fault) faults.push(`input ${index + i}: ${fault.words}`);
    }
    const isRest = Math.floor((index - plan.from) / between) !== Math.floor((index + atOnce - plan.from) / between);
    if (!isRest && index + atOnce < plan.to) continue;
    try {
      await opened.rest?.();
    } catch (error) {
      faults.push(`until input ${index}: ${error instanceof Error ? error.message : error}`);
    }
    heaps.push(await heapMib());
  }
  const [first = Number.NaN, ...later] = heaps.slice(Math.min(WARM, heaps.length - 1));
  const last = Math.min(...later.slice(-3));
  if (later.length >= 3 && last - first > MORE_MIB)
    faults.push(`the heap grew from ${first.toFixed(1)} to ${last.toFixed(1)} MiB over the inputs`);
  return faults;
}

parentPort?.postMessage({ faults: await run() } satisfies Report);
