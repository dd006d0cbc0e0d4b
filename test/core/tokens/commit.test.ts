import { describe, expect, it } from 'vitest';
import type { AppRecord } from '../../../src/core/tokens/app-record.ts';
import { type CommitContext, commit } from '../../../src/core/tokens/commit.ts';
import { HELD, issued, NOW, token, WALL } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const OVERLAP = 5 * MINUTE;
const SENT = NOW - 100;
const CONTEXT: CommitContext = {
  issuer: 'classic',
  trusted: true,
  isQuiet: true,
  now: NOW,
  wallNow: WALL + 0.7,
  generationStep: 1,
  overlapMs: OVERLAP,
  previousIsHonoured: true,
  due: ({ issuedAt, expiresAt }) => (issuedAt + expiresAt) / 2,
};
const PREVIOUS = token('z', HOUR + MINUTE);

/** Commits, and shows that the record that it was made of is as it was. */
function committed(record: AppRecord, answer = issued('b'), more: Partial<CommitContext> = {}) {
  const before = structuredClone(record);
  const result = commit(record, answer, { ...CONTEXT, ...more });
  expect(record).toEqual(before);
  return result;
}

describe('the same token once more', () => {
  const HALF = token('a', HOUR);
  const lasting = (moreMs: number) => issued('a', { lifetimeMs: HALF.expiresAt - SENT + moreMs });

  it.each([
    ['is as old as it was where it differs by noise', 1_999, HALF.expiresAt],
    ['also by noise below', -1_999, HALF.expiresAt],
    ['ends when WeChat says now', 2_000, HALF.expiresAt + 2_000],
    ['also where that is sooner', -30 * MINUTE, HALF.expiresAt - 30 * MINUTE],
  ])('%s', (_, moreMs, expiresAt) => {
    const { record, rotated } = committed(HELD, lasting(moreMs));
    expect({ rotated, generation: record.generation }).toEqual({ rotated: false, generation: 7 });
    expect(record.current).toEqual({ ...HALF, expiresAt, dueAt: (SENT + expiresAt) / 2 });
  });

  it.each([
    ['keeps the one before', 0, PREVIOUS],
    ['has no certain predecessor after a mint of unknown outcome', 1, null],
  ])('%s', (_, openMints, previous) => {
    const { record } = committed({ ...HELD, previous: PREVIOUS, openMints }, lasting(0));
    expect(record).toMatchObject({ previous, openMints: 0 });
  });

  it('is from where it came now', () => {
    expect(committed(HELD, lasting(0), { issuer: 'stable' }).record.issuer).toBe('stable');
  });
});

describe('the token before the current one', () => {
  const record = { ...HELD, previous: PREVIOUS, openMints: 1 };

  it('never comes back: WeChat is asked again', () => {
    const { record: next, rotated } = committed(record, issued('z'));
    expect(rotated).toBe(false);
    expect(next).toEqual({
      ...record,
      current: { ...HELD.current, dueAt: (NOW + (HELD.current?.expiresAt ?? 0)) / 2 },
    });
  });

  it('is a new one where another issuer gives it', () => {
    expect(committed(record, issued('z'), { issuer: 'stable' }).rotated).toBe(true);
  });
});

describe('another token', () => {
  it('is in use from the moment at which it was asked for', () => {
    const { record, rotated } = committed({ ...HELD, openMints: 1 });
    const expiresAt = SENT + 2 * HOUR;
    expect(rotated).toBe(true);
    expect(record.current).toEqual({
      value: 'b',
      id: 'b',
      issuedAt: SENT,
      expiresAt,
      answeredAt: NOW,
      dueAt: SENT + HOUR,
    });
    expect(record).toMatchObject({ issuer: 'classic', openMints: 0, budget: HELD.budget });
  });

  it.each([
    ['by the wall clock, in whole milliseconds', 7, 1, WALL],
    ['one more than the last where the clock is behind it', WALL + HOUR, 1, WALL + HOUR + 1],
    ['by more where others may choose the same', WALL + HOUR, 17, WALL + HOUR + 17],
    ['by more also where the clock is just behind', WALL - 5, 17, WALL + 12],
  ])('is numbered %s', (_, generation, generationStep, expected) => {
    expect(committed({ ...HELD, generation }, issued('b'), { generationStep }).record.generation).toBe(expected);
  });

  const grace = { ...HELD.current, dueAt: undefined };
  it.each<[string, AppRecord, Partial<CommitContext>, ReturnType<typeof issued>, number | undefined]>([
    ['is honoured for the overlap from the mint', HELD, {}, issued('b'), SENT + OVERLAP],
    [
      'from a mint that was before the read',
      HELD,
      {},
      issued('b', { mintedAt: SENT - MINUTE }),
      SENT - MINUTE + OVERLAP,
    ],
    ['from the read where WeChat minted by itself', HELD, {}, issued('b', { mintedAt: undefined }), SENT + OVERLAP],
    [
      'no longer than it would have lived',
      { ...HELD, current: token('a', 2 * HOUR - 30 * SECOND) },
      {},
      issued('b'),
      NOW + 30 * SECOND,
    ],
    [
      'to its own end where another issuer replaced nothing',
      HELD,
      { issuer: 'stable' },
      issued('b'),
      HELD.current?.expiresAt,
    ],
    ['not where it was dead', HELD, { trusted: false }, issued('b'), undefined],
    ['not where another mint may have come between', HELD, { previousIsHonoured: false }, issued('b'), undefined],
    ['not where the overlap is over', HELD, {}, issued('b', { mintedAt: NOW - OVERLAP }), undefined],
    ['not where it had expired', { ...HELD, current: token('a', 2 * HOUR) }, {}, issued('b'), undefined],
    ['not where there was none', { ...HELD, current: null }, {}, issued('b'), undefined],
  ])('has a predecessor that %s', (_, record, more, answer, expiresAt) => {
    const { previous } = committed(record, answer, more).record;
    const { dueAt: __, ...token } = record.current ?? grace;
    expect(previous).toEqual(expiresAt === undefined ? null : { ...token, expiresAt });
  });
});
