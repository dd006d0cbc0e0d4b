import { describe, expect, it } from 'vitest';
import { scenarioOf } from './scenario.ts';
import { Simulation } from './simulation.ts';

const HOUR = 3_600_000;

/** The first hours of a seed's day. */
async function played(seed: number, lengthMs = 6 * HOUR) {
  const lines: string[] = [];
  const report = await new Simulation(scenarioOf(seed, lengthMs), (line) => lines.push(line)).play();
  return { report, lines };
}

/** Days that are quick to play; `npm run simulate` plays whole ones, and more. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

describe('replicas that share a store', () => {
  it('do the same again with the same seed', async () => {
    const first = await played(3, 3 * HOUR);
    const second = await played(3, 3 * HOUR);
    expect(second.lines).toEqual(first.lines);
    expect(second.report.hash).toBe(first.report.hash);
    const other = await played(4, 3 * HOUR);
    expect(other.report.hash).not.toBe(first.report.hash);
  });

  it.each(SEEDS)('keep their promises through the faults of seed %i', async (seed) => {
    const { report } = await played(seed);
    expect(report.mints).toBeGreaterThan(0);
    expect(report.violations).toEqual([]);
  });

  it('hear of a new token long before they poll', async () => {
    const published = new Map<string, number[]>();
    const seconds = (clock: string) => clock.split(':').reduce((sum, part) => 60 * sum + Number(part), 0);
    await new Simulation(scenarioOf(3, 90_000), (line) => {
      const [, at, app, generation] =
        /^(\S+) +published .* app=(\S+) generation=(\d+) current=\w{12} /.exec(line) ?? [];
      if (!at) return;
      const key = `${app} ${generation}`;
      published.set(key, [...(published.get(key) ?? []), seconds(at)]);
    }).play();
    const spreads = [...published.values()].map((times) => Math.max(...times) - Math.min(...times));
    expect(spreads.length).toBeGreaterThan(0);
    expect(Math.max(...spreads)).toBeLessThan(0.1);
  });

  it('and their simulation tell no token and no secret', async () => {
    const { lines } = await played(5);
    expect(lines.filter((line) => /secret of|92_[0-9a-z]+_/.test(line))).toEqual([]);
  });
});
