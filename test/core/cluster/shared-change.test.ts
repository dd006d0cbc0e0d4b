import { describe, expect, it } from 'vitest';
import { mintWindowMs } from '../../../src/core/cluster/mint-window.ts';
import { reduceShared, type SharedChange, sharedRules } from '../../../src/core/cluster/shared-change.ts';
import { sharedOf, withShared } from '../../../src/core/cluster/shared-part.ts';
import type { AppRecord } from '../../../src/core/tokens/app-record.ts';
import type { Intent, Trouble } from '../../../src/core/tokens/ports.ts';
import type { Land, MintEnd, Reduced } from '../../../src/core/tokens/record-change.ts';
import { DAY, HELD, issued, MOMENT, NOW, token, WALL } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND, SETTINGS } from '../../support/world.ts';

const TROUBLE: Trouble = {
  failures: 2,
  time: WALL,
  retryTime: WALL + SECOND,
  reason: 'UPSTREAM_ERROR',
  message: 'WeChat is ill',
  answer: null,
};
const shared = (part: Parameters<typeof withShared>[1], record: AppRecord = HELD) => withShared(record, part);
const mint = (epoch: number, replica: string, more: Partial<Intent> = {}): Intent => ({
  epoch,
  replica,
  time: WALL - SECOND,
  orphaned: false,
  ...more,
});
/** The mint of this replica, the only one. */
const OURS = mint(4, 'r1');
const MINTING = shared({ epoch: 4, intents: [OURS] });

/** Makes a change as replica r1, and shows that the record that it was made of is as it was. */
function made(record: AppRecord, change: SharedChange, moment = MOMENT): Reduced<SharedChange> {
  const before = structuredClone(record);
  const reduced = reduceShared(record, change, moment, sharedRules(SETTINGS, 'r1'));
  expect(record).toEqual(before);
  return reduced;
}

describe.each<[SharedChange, Partial<AppRecord['shared'] & object>]>([
  [
    { type: 'mark_dead', generation: 7, warning: 'mind this' },
    { dead: true, warning: 'mind this' },
  ],
  [{ type: 'mark_trouble', generation: 7, trouble: TROUBLE }, { trouble: TROUBLE }],
])('$type', (change, told) => {
  it('tells the others of this generation, and nothing else changes', () => {
    const record = shared({ epoch: 3, intents: [mint(3, 'r2')], commitTime: 5 });
    expect(made(record, change).record).toEqual({ ...record, shared: { ...sharedOf(record), ...told } });
  });

  it.each([6, 8])('says nothing of generation %i, when it is replayed there', (generation) => {
    const record = { ...HELD, generation };
    expect(made(record, change).record).toBe(record);
  });
});

describe('keep_generation', () => {
  it.each([
    ['not where the store has it', 7, 'a', 7],
    ['nor where the store is ahead', 5, 'a', 7],
    ['as it is, for the same token', 9, 'a', 9],
    ['above it, for another token', 9, 'b', 10],
    ['above it, where there was none', 9, undefined, 10],
  ])('numbers what is there anew: %s', (_, generation, value, expected) => {
    const { record } = made(HELD, { type: 'keep_generation', generation, value });
    expect(record).toEqual({ ...HELD, generation: expected });
  });

  it('numbers a record without a token as it was published, where there was none', () => {
    const change = { type: 'keep_generation', generation: 9, value: undefined } as const;
    expect(made({ ...HELD, current: null }, change).record.generation).toBe(9);
  });

  it('made again on what it made changes nothing', () => {
    const change = { type: 'keep_generation', generation: 9, value: 'b' } as const;
    const { record } = made(HELD, change);
    expect(made(record, change).record).toBe(record);
  });
});

describe('restore', () => {
  const known = shared({ epoch: 4, intents: [OURS] }, { ...HELD, lastForcedAt: NOW - SECOND });

  it('brings back what a store has orphaned: the newer token, what both have spent, mints that either names', () => {
    const there = shared(
      { epoch: 2, intents: [mint(2, 'r2')] },
      {
        ...HELD,
        generation: 5,
        current: token('z', 2 * HOUR),
        budget: { day: DAY, mints: 5, forced: 1 },
        lastMintAt: NOW,
      },
    );
    const { record } = made(there, { type: 'restore', known });
    expect(record).toMatchObject({
      generation: 7,
      current: { value: 'a' },
      budget: { day: DAY, mints: 5, forced: 1 },
      lastMintAt: NOW,
      lastForcedAt: NOW - SECOND,
      openMints: 2,
    });
    expect(sharedOf(record)).toMatchObject({ epoch: 4, intents: [OURS, mint(2, 'r2', { orphaned: true })] });
  });

  it.each([
    ['a newer generation', shared({ epoch: 1 }, { ...HELD, generation: 8 })],
    ['as much', known],
    ['a later epoch', shared({ epoch: 5 })],
  ])('does nothing where the store has %s', (_, there) => {
    expect(made(there, { type: 'restore', known }).record).toBe(there);
  });
});

describe('a mint that is about to be made', () => {
  const wish = { appId: 'wx', call: 'classic', cause: 'scheduled', now: 0, wallNow: 0 } as const;
  const begin: SharedChange = { type: 'begin_mint', wish, base: 7 };

  it('is an intent of this replica, spent before it is made', () => {
    const { record, intent } = made(shared({ epoch: 3 }), begin);
    expect(intent).toEqual({ epoch: 4, replica: 'r1', time: WALL, orphaned: false });
    expect(record).toMatchObject({ openMints: 1, lastMintAt: NOW, budget: { mints: 4 } });
    expect(sharedOf(record)).toMatchObject({ epoch: 4, intents: [intent] });
  });

  it('replayed on a newer record is the next mint there, beside that of another', () => {
    const { record, intent } = made(shared({ epoch: 8, intents: [mint(8, 'r2')] }), begin, {
      ...MOMENT,
      wall: WALL + 5,
    });
    expect(intent).toEqual({ epoch: 9, replica: 'r1', time: WALL + 5, orphaned: false });
    expect(sharedOf(record).intents).toEqual([mint(8, 'r2'), intent]);
    expect(record.openMints).toBe(2);
  });

  it('is none where another token has come', () => {
    const record = { ...MINTING, generation: 8 };
    const reduced = made(record, begin);
    expect(reduced.refusal?.name).toBe('Superseded');
    expect(reduced).toMatchObject({ record });
    expect(reduced.intent).toBeUndefined();
  });
});

describe('a mint without a token', () => {
  const end = (how: MintEnd, intent: Intent | undefined = OURS): SharedChange => ({
    type: 'end_mint',
    intent,
    call: 'classic',
    how,
  });

  it.each<[MintEnd, mints: number, intents: Intent[]]>([
    ['undone', 2, []],
    ['outlived', 3, []],
    ['lost', 3, [{ ...OURS, orphaned: true }]],
  ])('%s: what is spent, and what is open', (how, mints, intents) => {
    const { record } = made(MINTING, end(how));
    expect(record).toMatchObject({ budget: { mints }, openMints: intents.length });
    expect(sharedOf(record)).toMatchObject({ epoch: 4, intents, pendingConfirmation: null });
  });

  it('has what waited for it alone confirmed now', () => {
    const waiting = withShared(MINTING, { pendingConfirmation: { epoch: 3, time: WALL + MINUTE } });
    expect(sharedOf(made(waiting, end('undone')).record).pendingConfirmation).toEqual({ epoch: 3, time: WALL });
    const others = withShared(waiting, { intents: [OURS, mint(3, 'r2')] });
    expect(sharedOf(made(others, end('undone')).record).pendingConfirmation).toEqual({ epoch: 3, time: WALL + MINUTE });
  });

  it('that others have settled meanwhile is lost from now on, by the clock of the moment', () => {
    const { record } = made(shared({ epoch: 6 }), end('lost'));
    expect(sharedOf(record)).toMatchObject({
      epoch: 7,
      intents: [{ ...OURS, time: WALL, orphaned: true }],
      pendingConfirmation: { epoch: 7, time: WALL + mintWindowMs(SETTINGS.overlapMs) },
    });
  });

  it('and without an intent changes nothing', () => {
    for (const how of ['undone', 'lost', 'outlived'] as const) {
      const change: SharedChange = { type: 'end_mint', intent: undefined, call: 'classic', how };
      expect(made(MINTING, change).record).toBe(MINTING);
    }
  });

  it('ended twice, since the answer of the first write was lost, is given back once', () => {
    const once = made(MINTING, end('undone')).record;
    expect(made(once, end('undone')).record).toBe(once);
  });
});

describe('an answer', () => {
  const land = (more: Partial<Land> = {}): Land => ({
    type: 'land',
    issued: issued('b', { intent: OURS }),
    base: 7,
    issuer: 'classic',
    trusted: true,
    isQuiet: true,
    wallNow: WALL,
    generationStep: 17,
    draw: 0.5,
    ...more,
  });

  it('of a mint alone settles it, and shows the token before', () => {
    const { record, result } = made(MINTING, land());
    expect(result).toBe('rotated');
    expect(record).toMatchObject({ generation: WALL, openMints: 0, current: { value: 'b' }, previous: { value: 'a' } });
    expect(sharedOf(record)).toMatchObject({ commitTime: WALL, intents: [], pendingConfirmation: null, dead: false });
  });

  it('of a mint that another may have overlapped is provisional, and shows none before', () => {
    const { record, result } = made(shared({ epoch: 5, intents: [OURS, mint(5, 'r2')] }), land());
    expect(result).toBe('rotated');
    expect(record).toMatchObject({ openMints: 1, previous: null });
    expect(sharedOf(record).pendingConfirmation).toEqual({
      epoch: 5,
      time: WALL - 100 + mintWindowMs(SETTINGS.overlapMs),
    });
  });

  it('is superseded, and paid for, where another replica has brought a token meanwhile', () => {
    const newer = { ...MINTING, generation: 8, current: token('c', SECOND) };
    const { record, result } = made(newer, land());
    expect(result).toBe('superseded');
    expect(record).toMatchObject({ generation: 8, current: { value: 'c' }, previous: null });
    expect(sharedOf(record)).toMatchObject({ intents: [], pendingConfirmation: { epoch: 4, time: WALL } });
  });

  it('of the same token ends the mint, and forgets the trouble but not that it is dead', () => {
    const record = withShared(MINTING, { trouble: TROUBLE, dead: true });
    const { record: next, result } = made(record, land({ issued: issued('a', { intent: OURS }) }));
    expect(result).toBe('unchanged');
    expect(sharedOf(next)).toMatchObject({ intents: [], trouble: null, dead: true });
  });

  it.each([
    [true, ''],
    [false, 'mind this'],
  ])(
    'of another token ends what was wrong with the last; on the schedule (%s) also what it warned of',
    (isQuiet, warning) => {
      const record = withShared(MINTING, { trouble: TROUBLE, dead: true, warning: 'mind this' });
      expect(sharedOf(made(record, land({ isQuiet })).record)).toMatchObject({ trouble: null, dead: false, warning });
    },
  );

  it('keeps the generation that it was given, replayed on what was there before', () => {
    const first = made(MINTING, land());
    const later = { ...MOMENT, elapsed: NOW + SECOND, wall: WALL - HOUR };
    const again = made(MINTING, first.again as SharedChange, later);
    expect([again.result, again.record.generation]).toEqual(['rotated', first.record.generation]);
  });

  it('has rotated where the store had it already, and incurs nothing', () => {
    const first = made(MINTING, land());
    const again = made(first.record, first.again as SharedChange);
    expect([again.result, again.record.generation]).toEqual(['rotated', WALL]);
    expect(sharedOf(again.record)).toMatchObject({ intents: [], pendingConfirmation: null });
  });
});

describe('a change that a process that owns its store makes too', () => {
  it.each<[SharedChange, Partial<AppRecord>]>([
    [{ type: 'start_cooldown' }, { lastForcedAt: NOW }],
    [{ type: 'raise_generation', above: 9, to: 12 }, { generation: 12 }],
    [{ type: 'rewrite' }, {}],
  ])('$type is the same here, and leaves what is shared', (change, expected) => {
    expect(made(MINTING, change).record).toEqual({ ...MINTING, ...expected });
  });
});
