import { describe, expect, it } from 'vitest';
import type { AppRecord } from '../../../src/core/tokens/app-record.ts';
import {
  type Land,
  localRules,
  type RecordChange,
  type Reduced,
  reduce,
  Superseded,
} from '../../../src/core/tokens/record-change.ts';
import { DAY, HELD, issued, MOMENT, NOW, token, WALL } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND, SETTINGS } from '../../support/world.ts';

const LAND: Land = {
  type: 'land',
  issued: issued('b'),
  base: 7,
  issuer: 'classic',
  trusted: true,
  isQuiet: true,
  wallNow: WALL,
  generationStep: 1,
  draw: 0.5,
};

/** Makes a change, and shows that the record that it was made of is as it was. */
function made(record: AppRecord, change: RecordChange, moment = MOMENT): Reduced {
  const before = structuredClone(record);
  const reduced = reduce(record, change, moment, localRules(SETTINGS));
  expect(record).toEqual(before);
  return reduced;
}

describe('a rewrite', () => {
  it('changes nothing: only the times that are stored differ', () => {
    expect(made(HELD, { type: 'rewrite' }).record).toBe(HELD);
  });
});

describe('a generation that only a watcher has', () => {
  it.each([
    [6, 9, 7],
    [7, 9, 7],
    [8, 9, 9],
  ])('is numbered above: %i is above 7 or not', (above, to, generation) => {
    expect(made(HELD, { type: 'raise_generation', above, to }).record.generation).toBe(generation);
  });
});

describe('a token that WeChat accepts after the clock leapt beyond its life', () => {
  const doubted = token('a', HOUR);
  const redeem: RecordChange = { type: 'redeem', generation: 7, token: doubted };

  it('has back what the clock took', () => {
    expect(made({ ...HELD, current: null }, redeem).record.current).toEqual(doubted);
  });

  it.each([
    ['of a newer generation', { ...HELD, generation: 8, current: null }],
    ['of this generation, renumbered', { ...HELD, current: token('c', 0) }],
  ])('does not come back in place of one that another replica has brought meanwhile, %s', (_, newer) => {
    expect(made(newer, redeem).record).toBe(newer);
  });
});

describe("an operator's refresh that costs no mint", () => {
  const start: RecordChange = { type: 'start_cooldown' };

  it('starts the cooldown, and spends nothing', () => {
    const { lastForcedAt: _, ...rest } = HELD;
    expect(made(HELD, start)).toEqual({ record: { ...rest, lastForcedAt: NOW } });
  });

  it('starts it whatever another replica has done meanwhile, at the moment of the last attempt to store it', () => {
    const newer = { ...HELD, generation: 8, lastForcedAt: NOW - SECOND };
    const later = { ...MOMENT, elapsed: NOW + SECOND };
    expect(made(newer, start, later).record).toEqual({ ...newer, lastForcedAt: NOW + SECOND });
  });
});

describe('a mint that is about to be made', () => {
  const begin = (cause: 'scheduled' | 'report', call: 'classic' | 'stable_force' = 'classic'): RecordChange => ({
    type: 'begin_mint',
    // The moment counts, and not when it was wished for.
    wish: { appId: 'wx', call, cause, now: 0, wallNow: 0 },
    base: 7,
  });

  it('is spent before it is made', () => {
    const { record } = made(HELD, begin('scheduled'));
    expect(record).toMatchObject({ openMints: 1, lastMintAt: NOW, budget: { mints: 4 } });
    expect(record.lastForcedAt).toBe(HELD.lastForcedAt);
  });

  it('starts the cooldown where a caller caused it', () => {
    expect(made(HELD, begin('report')).record.lastForcedAt).toBe(NOW);
  });

  it.each([
    ['during the cooldown', { ...HELD, lastForcedAt: NOW - SECOND }, begin('report'), 'COOLDOWN'],
    ['over the budget', { ...HELD, budget: { day: DAY, mints: 800, forced: 0 } }, begin('report'), 'BUDGET_EXHAUSTED'],
    [
      'over the forced budget',
      { ...HELD, budget: { day: DAY, mints: 0, forced: 18 } },
      begin('report', 'stable_force'),
      'BUDGET_EXHAUSTED',
    ],
  ])('is refused %s, and nothing is spent', (_, record, change, reason) => {
    const reduced = made(record, change);
    expect(reduced.refusal).toMatchObject({ reason });
    expect(reduced.record).toBe(record);
  });

  it('counts from nothing on another day', () => {
    const yesterday = { ...HELD, budget: { day: DAY - 1, mints: 1000, forced: 18 } };
    expect(made(yesterday, begin('report')).record.budget).toEqual({ day: DAY, mints: 1, forced: 0 });
  });

  it('of a stable token is spent of its own budget, and keeps to the spacing of WeChat', () => {
    expect(made(HELD, begin('report', 'stable_force')).record.budget).toEqual({ day: DAY, mints: 3, forced: 1 });
    const record = { ...HELD, lastForcedAt: NOW - 20 * SECOND };
    const rules = localRules({ ...SETTINGS, cooldownMs: 0 });
    const asked = (call: 'classic' | 'stable_force') => reduce(record, begin('report', call), MOMENT, rules).refusal;
    expect(asked('stable_force')).toMatchObject({ reason: 'COOLDOWN', retryAfterMs: 10 * SECOND });
    expect(asked('classic')).toBeUndefined();
  });

  it('need not be made where another token has come', () => {
    const reduced = made({ ...HELD, generation: 8 }, begin('scheduled'));
    expect(reduced.refusal).toBeInstanceOf(Superseded);
  });
});

describe('a mint without a token', () => {
  const open: AppRecord = { ...HELD, openMints: 1 };
  const end = (how: 'undone' | 'lost' | 'outlived'): RecordChange => ({
    type: 'end_mint',
    intent: undefined,
    call: 'classic',
    how,
  });

  it('that was not made is given back', () => {
    expect(made(open, end('undone')).record).toMatchObject({ openMints: 0, budget: { mints: 2 } });
  });

  it.each(['lost', 'outlived'] as const)('that may have been made stays open: %s', (how) => {
    expect(made(open, end(how)).record).toBe(open);
  });
});

describe('an answer', () => {
  it('of another token is the next generation, and shows the one before for the overlap', () => {
    const { record, result } = made({ ...HELD, openMints: 1 }, LAND);
    expect(result).toBe('rotated');
    expect(record).toMatchObject({ generation: WALL, openMints: 0, current: { value: 'b' }, previous: { value: 'a' } });
    expect(record.previous?.expiresAt).toBe(NOW - 100 + 5 * MINUTE);
  });

  it('of the same token is no generation', () => {
    const { record, result } = made(HELD, { ...LAND, issued: issued('a', { mintedAt: undefined }) });
    expect([result, record.generation]).toEqual(['unchanged', 7]);
  });

  it('of the same token is none at all where that is dead', () => {
    const { record, result } = made(HELD, { ...LAND, trusted: false, issued: issued('a') });
    expect(result).toBe('older');
    expect(record).toBe(HELD);
  });

  it('never lets the generation fall, where the clock was set back', () => {
    const ahead = { ...HELD, generation: WALL + HOUR };
    expect(made(ahead, { ...LAND, base: ahead.generation }).record.generation).toBe(WALL + HOUR + 1);
  });

  it('draws when it is due once, however often it is made', () => {
    const first = made({ ...HELD, openMints: 1 }, LAND).record.current?.dueAt;
    const again = made({ ...HELD, openMints: 1, generation: 6 }, { ...LAND, base: 6 }).record.current?.dueAt;
    expect(again).toBe(first);
  });
});

describe('an answer whose write was not answered', () => {
  const { record: written, again } = made({ ...HELD, openMints: 1 }, LAND);

  it('keeps the generation that it was given, when it is made again on what was there before', () => {
    const later = { ...MOMENT, elapsed: NOW + SECOND, wall: WALL - HOUR };
    expect(made({ ...HELD, openMints: 1 }, again as Land, later).record.generation).toBe(written.generation);
  });

  it('has rotated, when the store had it already', () => {
    const { record, result } = made(written, again as Land);
    expect([result, record.generation]).toEqual(['rotated', written.generation]);
  });

  it('was never numbered where it is made for the first time', () => {
    expect(made(written, { ...LAND, base: written.generation }).result).toBe('unchanged');
  });
});
