import { describe, expect, it } from 'vitest';
import { land } from '../../../src/core/cluster/landing.ts';
import { mintWindowMs } from '../../../src/core/cluster/mint-window.ts';
import { sharedOf, withShared } from '../../../src/core/cluster/shared-part.ts';
import type { Intent, IssuerKind } from '../../../src/core/tokens/ports.ts';
import { HELD, issued, NOW, token, WALL } from '../../support/records.ts';
import { holding, intent, recordWith } from '../../support/shared-records.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const OVERLAP = 5 * MINUTE;

describe('an answer that is stored long after it was asked for, since the store was away', () => {
  const sentAgoMs = 90 * MINUTE;
  const ours: Intent = { epoch: 5, replica: 'r1', time: WALL - sentAgoMs, orphaned: false };
  const theirs: Intent = { epoch: 6, replica: 'r2', time: WALL - 10 * SECOND, orphaned: true };
  const landed = (issuer: IssuerKind, intents: readonly Intent[], mint: Intent | undefined) => {
    const now = 1e7;
    const sentAt = now - sentAgoMs;
    const record = { ...recordWith(7, 6, ...intents), issuer };
    const issued = {
      value: 'b',
      id: 'b',
      lifetimeMs: 2 * HOUR,
      sentAt,
      answeredAt: sentAt + 50,
      mintedAt: mint && sentAt,
    };
    const context = {
      issuer,
      trusted: true,
      isQuiet: false,
      now,
      wallNow: WALL,
      generationStep: 1,
      previousIsHonoured: true,
      overlapMs: OVERLAP,
      due: () => now,
    };
    const times = {
      sentTime: WALL - sentAgoMs,
      time: WALL,
      answeredTime: WALL - sentAgoMs + 50,
      currentTime: undefined,
    };
    return land(record, { ...issued, intent: mint }, context, { base: 7, intent: mint, ...times, overlapMs: OVERLAP });
  };

  it.each([
    ['classic', [ours, theirs], ours],
    ['stable', [theirs], undefined],
  ] as const)('is not taken for newer than a mint that was begun meanwhile: %s', (issuer, intents, mint) => {
    const { record, result } = landed(issuer, intents, mint);
    expect(result).toBe('rotated');
    expect(sharedOf(record).intents).toEqual([theirs]);
    expect(sharedOf(record).pendingConfirmation?.epoch).toBe(6);
  });

  it('is provisional beside a mint that was begun with it, though that is settled by now', () => {
    const beside: Intent = { epoch: 4, replica: 'r2', time: WALL - sentAgoMs + 10 * SECOND, orphaned: true };
    expect(sharedOf(landed('classic', [ours, beside], ours).record).intents).toEqual([beside]);
  });
});

describe('an answer that comes when its process, which had stood still, goes on', () => {
  const ours: Intent = { epoch: 5, replica: 'r1', time: WALL - 200 * SECOND, orphaned: false };
  const confirming: Intent = { epoch: 7, replica: 'r2', time: WALL, orphaned: false };
  /** The epoch of the debt after it, where another has refreshed the app and a mint of that one is under way. */
  const owed = (seenEpoch: number | undefined, debtEpoch: number) => {
    const now = 1e7;
    const sentAt = now - 200 * SECOND;
    const current = holding(recordWith(8, 7, ours, confirming), 'c', sentAt + 15 * SECOND);
    const record = withShared(current, { pendingConfirmation: { epoch: debtEpoch, time: WALL } });
    const issued = {
      value: 'b',
      id: 'b',
      lifetimeMs: 2 * HOUR,
      sentAt,
      answeredAt: now,
      mintedAt: sentAt,
      intent: ours,
    };
    const context = {
      issuer: 'classic',
      trusted: true,
      isQuiet: false,
      now,
      wallNow: WALL,
      generationStep: 1,
      previousIsHonoured: true,
    } as const;
    const times = { sentTime: WALL - 200 * SECOND, time: WALL, answeredTime: WALL, currentTime: WALL - 185 * SECOND };
    const flown = { base: 7, intent: ours, ...times, overlapMs: OVERLAP };
    const landed = land(record, { ...issued, seenEpoch }, { ...context, overlapMs: OVERLAP, due: () => now }, flown);
    expect(landed.result).toBe('superseded');
    return sharedOf(landed.record).pendingConfirmation?.epoch;
  };

  it('is older than a mint that was begun after it was there: that one pays', () => {
    expect(owed(6, 6)).toBe(6);
    expect(owed(6, 5)).toBe(6);
  });

  it('is owed for beyond what is under way where that may have been begun before, and never less than was owed', () => {
    expect(owed(7, 6)).toBe(7);
    expect(owed(undefined, 6)).toBe(7);
    expect(owed(4, 6)).toBe(6);
    expect(owed(99, 6)).toBe(7);
  });
});

describe('the confirming mint', () => {
  it('settles it all though the clock of its replica is a little behind', () => {
    const sentAt = 1e7;
    const time = WALL - 50;
    const lost: Intent = { epoch: 5, replica: 'r2', time: WALL - mintWindowMs(OVERLAP), orphaned: true };
    const ours: Intent = { epoch: 6, replica: 'r1', time, orphaned: false };
    const record = withShared(recordWith(7, 6, lost, ours), { pendingConfirmation: { epoch: 5, time: WALL } });
    const issued = { value: 'b', id: 'b', lifetimeMs: 2 * HOUR, sentAt, answeredAt: sentAt, mintedAt: sentAt };
    const context = {
      issuer: 'classic',
      trusted: true,
      isQuiet: false,
      now: sentAt,
      wallNow: WALL,
      generationStep: 1,
      previousIsHonoured: true,
    } as const;
    const landed = land(
      record,
      { ...issued, intent: ours },
      { ...context, overlapMs: OVERLAP, due: () => sentAt },
      { base: 7, intent: ours, sentTime: time, time, answeredTime: time, currentTime: undefined, overlapMs: OVERLAP },
    );
    expect(sharedOf(landed.record)).toMatchObject({ intents: [], pendingConfirmation: null });
  });
});

describe('an answer to a refresh that another replica was faster with', () => {
  const ours = intent(4, 'r1');
  const theirs = intent(3, 'r2');
  const CURRENT = token('c', 10 * SECOND);
  const PREVIOUS = token('a', HOUR);
  const context = {
    issuer: 'classic',
    trusted: true,
    isQuiet: true,
    now: NOW,
    wallNow: WALL,
    generationStep: 1,
    overlapMs: OVERLAP,
    previousIsHonoured: true,
    due: () => NOW,
  } as const;
  const owed = (epoch: number, time: number) => ({ epoch, time });
  const later = owed(2, WALL + MINUTE);

  interface Case {
    readonly value?: string;
    readonly mint?: Intent | undefined;
    readonly others?: readonly Intent[];
    readonly pending?: ReturnType<typeof owed> | null;
    readonly previous?: typeof PREVIOUS;
    readonly current?: typeof CURRENT;
    readonly answeredAgoMs?: number;
  }
  const landed = (given: Case) => {
    const { value = 'b', others = [], pending = null, current = CURRENT, answeredAgoMs = 0 } = given;
    const mint = 'mint' in given ? given.mint : ours;
    const intents = mint ? [mint, ...others] : others;
    const held = { ...HELD, generation: 8, current, previous: given.previous ?? PREVIOUS };
    const record = withShared(held, { epoch: 4, intents, pendingConfirmation: pending });
    const flown = {
      base: 7,
      intent: mint,
      sentTime: WALL - 20 * SECOND,
      time: WALL,
      answeredTime: WALL - answeredAgoMs,
      currentTime: WALL - 10 * SECOND,
      overlapMs: OVERLAP,
    };
    return land(record, issued(value, { intent: mint }), context, flown);
  };

  it.each<[string, Case, pending: ReturnType<typeof owed> | null, previous: string | undefined]>([
    ['a mint is newer or not: a confirming one is owed now', {}, owed(4, WALL), undefined],
    ['with another under way, too', { others: [theirs] }, owed(4, WALL), undefined],
    [
      'or when it was owed already, while another is under way',
      { others: [theirs], pending: later },
      owed(4, later.time),
      undefined,
    ],
    ['and sooner where that is over', { pending: later }, owed(4, WALL), undefined],
    [
      'one that a write has recorded, whose answer was lost, owes nothing',
      { previous: { ...PREVIOUS, value: 'b' } },
      null,
      'b',
    ],
    [
      'one whose answer was here before the current token was asked for is older',
      { answeredAgoMs: 13 * SECOND },
      null,
      undefined,
    ],
    ['but not where the clocks may differ by as much', { answeredAgoMs: 11 * SECOND }, owed(4, WALL), undefined],
    ['a read owes nothing', { mint: undefined }, null, undefined],
    ['nor does it pay', { mint: undefined, pending: later }, later, undefined],
  ])('%s', (_, given, pending, previous) => {
    const { record, result } = landed(given);
    expect([result, record.generation, record.current?.value]).toEqual(['superseded', 8, 'c']);
    expect(sharedOf(record)).toMatchObject({ intents: given.others ?? [], pendingConfirmation: pending });
    expect(record.previous?.value).toBe(previous);
  });

  it('is taken into use where that token has expired meanwhile', () => {
    const { record, result } = landed({ current: token('c', 3 * HOUR) });
    expect([result, record.current?.value]).toEqual(['rotated', 'b']);
  });

  it('brings the same token', () => {
    const { record, result } = landed({ value: 'c' });
    expect([result, record.generation]).toEqual(['unchanged', 8]);
    expect(sharedOf(record)).toMatchObject({ intents: [], pendingConfirmation: null });
  });
});

describe('an answer that nobody was faster with', () => {
  const ours = intent(4, 'r1');
  const settled = mintWindowMs(OVERLAP);
  const recent = { ...intent(3, 'r2'), time: WALL - MINUTE };
  const old = { ...intent(3, 'r2'), time: WALL - 12 * OVERLAP - MINUTE, orphaned: true };
  const owed = (epoch: number, time: number) => ({ epoch, time });
  const CLASSIC = { issuer: 'classic', mint: ours, intents: [ours], epoch: 4, pending: null } as const;
  const READ = { issuer: 'stable', mint: undefined, intents: [], epoch: 4, pending: null } as const;

  interface Case {
    readonly issuer: IssuerKind;
    readonly mint: Intent | undefined;
    readonly intents: readonly Intent[];
    readonly epoch: number;
    readonly pending: ReturnType<typeof owed> | null;
    readonly mintedAt?: number | undefined;
  }
  const landed = (given: Case) => {
    const { issuer, mint, intents, epoch, pending } = given;
    const held = { ...HELD, issuer, current: token('c', HOUR) };
    const record = withShared(held, { epoch, intents, pendingConfirmation: pending });
    const context = {
      issuer,
      trusted: true,
      isQuiet: true,
      now: NOW,
      wallNow: WALL,
      generationStep: 1,
      overlapMs: OVERLAP,
      previousIsHonoured: true,
      due: () => NOW,
    };
    const flown = {
      base: 7,
      intent: mint,
      sentTime: WALL - SECOND,
      time: WALL,
      answeredTime: WALL,
      currentTime: WALL - HOUR,
      overlapMs: OVERLAP,
    };
    const mintedAt = 'mintedAt' in given ? given.mintedAt : mint && NOW - SECOND;
    return land(record, issued('b', { intent: mint, mintedAt }), context, flown);
  };

  it.each<[string, Case, pending: ReturnType<typeof owed> | null, previous: string | undefined, open: number]>([
    ['alone: nothing is owed, and the one before is shown', CLASSIC, null, 'c', 0],
    ['alone, and paying', { ...CLASSIC, pending: owed(3, WALL) }, null, undefined, 0],
    ['alone, too early to pay', { ...CLASSIC, pending: owed(4, WALL) }, owed(4, WALL), undefined, 0],
    ['beside another', { ...CLASSIC, intents: [ours, recent] }, owed(4, WALL - SECOND + settled), undefined, 1],
    ['after another had begun and ended', { ...CLASSIC, epoch: 5 }, owed(5, WALL), undefined, 0],
    ['given up by others before', { ...CLASSIC, intents: [] }, owed(4, WALL), undefined, 0],
    [
      'forced, with another between it and the read',
      { ...CLASSIC, issuer: 'stable', mintedAt: undefined },
      null,
      undefined,
      0,
    ],
    ['read, alone', READ, null, 'c', 0],
    ['read, which pays what is owed', { ...READ, pending: owed(4, WALL) }, null, undefined, 0],
    ['read beside another', { ...READ, intents: [recent] }, owed(4, WALL - SECOND + settled), undefined, 1],
    ['read long after another that may have arrived', { ...READ, intents: [old] }, null, undefined, 0],
  ])('%s', (_, given, pending, previous, open) => {
    const { record, result } = landed(given);
    expect([result, record.current?.value, record.openMints]).toEqual(['rotated', 'b', open]);
    expect(sharedOf(record).pendingConfirmation).toEqual(pending);
    expect(record.previous?.value).toBe(previous);
  });
});
