import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { FaultEffect } from '../../../src/sandbox/faults.ts';
import { type TicketProcess, TicketWorld } from '../../support/ticket-world.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** As for the other models: see test/core/model.test.ts. A sequence of these takes longer. */
const { MODEL_SEED = '2026', MODEL_RUNS = '200' } = process.env;

/** None hands out tickets that nobody sees: the simulated WeChat remembers the last 16 alone. */
const FAULTS: readonly FaultEffect[] = [
  { kind: 'latency', ms: 3 * SECOND },
  { kind: 'hang', takesEffect: false },
  { kind: 'reset', takesEffect: false },
  { kind: 'refused' },
  { kind: 'html', status: 502, takesEffect: false },
  { kind: 'errcode', errcode: 45009 },
  { kind: 'errcode', errcode: 45011 },
  { kind: 'errcode', errcode: 48001 },
  { kind: 'errcode', errcode: 40001 },
];

/** What may happen, one after another. Numbers choose among processes and faults, or are minutes. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass' as const), n: fc.integer({ min: 1, max: 90 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('ask' as const), n: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('fault' as const), n: fc.nat(FAULTS.length - 1) }) },
  ...(['mend', 'restart', 'kill_token', 'store_away', 'store_back'] as const).map((kind) => ({
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant(kind), n: fc.nat(2) }),
  })),
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sleep' as const), n: fc.integer({ min: 1, max: 200 }) }) },
);

/** What a process would answer with at once; undefined: it would have to wait. */
function served({ tickets }: TicketProcess): string | undefined {
  const found = tickets.get('wxs', 'jsapi', { signal: () => AbortSignal.abort(new Error('not waited for')) });
  if (!(found instanceof Promise)) return found.value;
  found.catch(() => undefined);
  return undefined;
}

it('P5, P6, P7, P10: whatever happens, what is served is good, calls are few, and calm brings a ticket to all', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), fc.nat(1_000), async (steps, seed) => {
      const world = new TicketWorld({ seed });
      const all = [await world.add('0-0'), await world.add('1-0'), await world.add('2-0')];
      const asked = new Set<number>();
      const start = world.clock.now();
      let asks = 0;
      let restarts = 0;
      const check = () => {
        for (const process of all) {
          const value = served(process);
          if (value !== undefined) expect(world.wechat.honoursTicket('wxs', 'jsapi', value)).toBe(true);
        }
      };
      for (const { kind, n } of steps) {
        if (kind === 'pass') {
          for (let i = 0; i < n; i++) {
            await world.clock.advance(MINUTE);
            check();
          }
        } else if (kind === 'ask') {
          asks++;
          asked.add(n);
          await world.get(all[n] as TicketProcess).catch(() => undefined);
        } else if (kind === 'fault')
          world.wechat.faults.inject({ effect: FAULTS[n] as FaultEffect, calls: ['ticket'] });
        else if (kind === 'mend') world.wechat.faults.clear();
        else if (kind === 'kill_token') world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
        else if (kind === 'store_away') world.store.failure = new Error('away');
        else if (kind === 'store_back') world.store.failure = undefined;
        else if (kind === 'sleep') world.clock.sleep(n * MINUTE);
        else if (!world.store.failure) {
          // A store that cannot be read is not begun with.
          restarts++;
          all[n]?.kill();
          all[n] = await world.add(`${n}-${restarts}`);
        }
        check();
      }
      // 240 an hour is what one endless outage costs one replica; each that is asked, or is begun anew, may find out for itself.
      const hours = 1 + Math.ceil((world.clock.now() - start) / HOUR);
      expect(world.calls).toBeLessThanOrEqual((240 * hours + asks + restarts) * 3);
      world.wechat.faults.clear();
      world.store.failure = undefined;
      for (const process of all) process.broker.sweep();
      await world.clock.advance(16 * MINUTE);
      for (const n of asked) {
        await world.get(all[n] as TicketProcess);
        expect(world.good(all[n] as TicketProcess)).toBe(true);
      }
      const before = world.calls;
      await world.clock.advance(2 * HOUR);
      check();
      // All that keep one share two or three lives of it.
      expect(world.calls - before).toBeLessThanOrEqual(4);
    }),
    { numRuns: Number(MODEL_RUNS) / 4, ...(MODEL_SEED !== 'random' && { seed: Number(MODEL_SEED) }) },
  );
}, 3_600_000);
