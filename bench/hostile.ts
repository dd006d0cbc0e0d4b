import { ATTACKS } from '../test/hostile/attacks.ts';
import { besiege, type Outcome, startSandbox } from '../test/hostile/siege.ts';
import { type Figure, round } from './figure.ts';
import type { Benchmark } from './setup.ts';
import { median } from './stats.ts';

/** The promise: a Get so much later at most, and so much memory in all. */
const LATE_MS = 100;
const HELD_BYTES = 64 * 1024 * 1024;
const MIB = 1024 * 1024;
/** What a broker may hold afterwards beyond what it held before: code that became hot, and pooled buffers. */
const LEFT_BYTES = 8 * MIB;
const QUICK = ['review:', 'watch: 109', 'unread: 3,000 Gets', 'http2: calls that are reset'];

/** What strangers cost others: each attack beside a polite client, and the same client just before without it. */
export const hostile: Benchmark = async ({ quick, progress }) => {
  const rounds = quick ? 1 : 3;
  await using sandbox = await startSandbox();
  const chosen = ATTACKS.filter(({ name }) => !quick || QUICK.some((part) => name.startsWith(part)));
  const figures: Figure[] = [];
  for (const attack of chosen) {
    const outcomes: Outcome[] = [];
    for (let i = 0; i < rounds; i++) {
      progress(`${attack.name}, round ${i + 1} of ${rounds}`);
      outcomes.push(await besiege(attack, sandbox.address, { quietMs: quick ? 1_000 : 3_000 }));
    }
    for (const fault of new Set(outcomes.flatMap(({ faults }) => faults))) progress(fault);
    figures.push(...figuresOf(attack.name, outcomes));
  }
  return figures;
};

function figuresOf(name: string, outcomes: readonly Outcome[]): Figure[] {
  const all = (read: (outcome: Outcome) => number) => outcomes.map(read);
  const worst = (side: 'quiet' | 'during') => round(median(all((outcome) => outcome[side].worstMs)));
  const bytes = (read: (outcome: Outcome) => number) => all((outcome) => read(outcome) * MIB);
  return [
    {
      name: `Hostile: ${name}: the worst Get, beyond without`,
      unit: 'ms',
      rounds: all(({ during, quiet }) => during.worstMs - quiet.worstMs),
      limit: { atMost: LATE_MS },
      detail: `${worst('during')} - ${worst('quiet')} ms`,
    },
    {
      name: `Hostile: ${name}: held at its height`,
      unit: 'bytes',
      rounds: bytes(({ heldMib }) => heldMib),
      limit: { atMost: HELD_BYTES },
      detail: `${round(median(all(({ residentMib }) => residentMib)))} MiB more resident at most, garbage included`,
    },
    {
      name: `Hostile: ${name}: held afterwards`,
      unit: 'bytes',
      rounds: bytes(({ leftMib }) => leftMib),
      limit: { atMost: LEFT_BYTES },
      detail: `${median(all(({ leftFiles }) => leftFiles))} more file descriptors, after ${round(median(all(({ settledMs }) => settledMs)))} ms`,
    },
  ];
}
