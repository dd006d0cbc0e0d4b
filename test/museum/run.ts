import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Bug } from './bug.ts';
import { troubleWithout, type Verdict, verdictOf } from './verdict.ts';
import { Workshop } from './workshop.ts';

/*
 * Puts each bug of `bugs/` back, one at a time and in a copy of the working tree, and shows which test catches it.
 *
 *     npm run museum [-- [--list] [NAME...]]
 *
 * Exits 0 when every bug was caught, 1 when one was not, 2 on a name that is not there.
 */

/** Bugs on trial at once. */
const LANES = 2;

interface Trial {
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
}

const { values, positionals } = parseArgs({ options: { list: { type: 'boolean' } }, allowPositionals: true });
const bugs = await load(positionals);
const width = Math.max(...[...bugs.keys()].map((name) => name.length));
if (values.list) {
  for (const [name, { story }] of bugs) console.log(`${name.padEnd(width)}  ${story.split(/(?<=[.:]) /)[0]}`);
} else {
  process.once('SIGINT', () => process.exit(130));
  process.exitCode = report(await visit()) ? 0 : 1;
}

/** The bugs of these names, or all. */
async function load(names: readonly string[]): Promise<Map<string, Bug>> {
  const all = readdirSync(join(import.meta.dirname, 'bugs')).map((file) => file.replace(/\.ts$/, ''));
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) {
    console.error(`no bug "${unknown.join('", "')}" is in test/museum/bugs; --list names those that are`);
    process.exit(2);
  }
  const chosen = names.length > 0 ? names : all.sort();
  return new Map(
    await Promise.all(chosen.map(async (name) => [name, (await import(`./bugs/${name}.ts`)).bug] as const)),
  );
}

/** Tries every bug. Rejects when the code without them does not compile. */
async function visit(): Promise<Trial[]> {
  const shops = [new Workshop(), ...Array.from({ length: LANES - 1 }, () => new Workshop())] as const;
  process.once('exit', () => {
    for (const shop of shops) shop[Symbol.dispose]();
  });
  const complaint = await shops[0].complaint();
  if (complaint) throw new Error(`src does not compile, bugs or not: ${complaint}`);
  const catchers = [...bugs.values()].map(({ caughtBy }) => caughtBy);
  const without = await shops[0].test(catchers, { bail: false });
  const queue = bugs.entries();
  const trials: Trial[] = [];
  const lane = async (shop: Workshop) => {
    for (const [name, bug] of queue) {
      const startedAt = performance.now();
      const trouble = troubleWithout(without, bug.caughtBy);
      const verdict: Verdict = trouble ? { kind: 'void', why: trouble } : await tried(bug, shop);
      const seconds = (performance.now() - startedAt) / 1_000;
      trials.push({ name, verdict, seconds });
      console.log(`${name}: ${verdict.kind}`);
    }
  };
  await Promise.all(shops.map(lane));
  return trials;
}

/** Puts one bug back, and takes it out again. */
async function tried(bug: Bug, shop: Workshop): Promise<Verdict> {
  let undo = () => {};
  try {
    undo = shop.putBack(bug);
    const complaint = await shop.complaint();
    if (complaint) return { kind: 'void', why: `with it the code does not compile: ${complaint}` };
    return verdictOf(await shop.test([bug.caughtBy], { bail: true }), bug.caughtBy);
  } catch (error) {
    return { kind: 'void', why: error instanceof Error ? error.message : String(error) };
  } finally {
    undo();
  }
}

/** Prints what became of each bug; whether all were caught. */
function report(trials: readonly Trial[]): boolean {
  console.log();
  for (const { name, verdict, seconds } of trials.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    console.log(
      `${name.padEnd(width)}  ${verdict.kind.padEnd(6)}  ${seconds.toFixed(1).padStart(4)} s  ${words(verdict)}`,
    );
  }
  const caught = trials.filter(({ verdict }) => verdict.kind === 'caught').length;
  console.log(`\n${trials.length} bugs put back, ${caught} caught`);
  return caught === trials.length;
}

function words(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'caught':
      return verdict.by;
    case 'missed':
      return 'the test that should catch it passes';
    case 'void':
      return verdict.why;
  }
}
