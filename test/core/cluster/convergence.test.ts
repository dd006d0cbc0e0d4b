import { describe, expect, it } from 'vitest';
import { conclude, intend } from '../../../src/core/cluster/intents.ts';
import { land } from '../../../src/core/cluster/landing.ts';
import { mintWindowMs } from '../../../src/core/cluster/mint-window.ts';
import { isBehind, restored } from '../../../src/core/cluster/restore.ts';
import { sharedOf, withShared } from '../../../src/core/cluster/shared-part.ts';
import { type AppRecord, emptyRecord } from '../../../src/core/tokens/app-record.ts';
import type { Intent, IssuerKind } from '../../../src/core/tokens/ports.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const NOW = 1_768_449_600_000;
const OVERLAP = 5 * MINUTE;
const at = { time: NOW, overlapMs: OVERLAP };

function intent(epoch: number, replica: string, orphaned = false): Intent {
  return { epoch, replica, time: NOW - 10 * MINUTE, orphaned };
}

/** A record with these mints of unknown outcome. */
function recordWith(generation: number, epoch: number, ...intents: Intent[]): AppRecord {
  return withShared({ ...emptyRecord('classic'), generation }, { epoch, intents });
}

/** The same with a token whose request left at this elapsed moment. */
function holding(record: AppRecord, value: string, issuedAt: number): AppRecord {
  const current = { value, id: value, issuedAt, expiresAt: issuedAt + 1e7, answeredAt: issuedAt + 50, dueAt: 1e6 };
  return { ...record, current };
}

describe('an intent of our own that is there again', () => {
  it('may have been carried out: it is taken for lost', () => {
    const { record } = intend(recordWith(7, 3, intent(3, 'r1'), intent(2, 'r2')), 'r1', NOW);
    expect(sharedOf(record).intents).toEqual([
      intent(3, 'r1', true),
      intent(2, 'r2'),
      { epoch: 4, replica: 'r1', time: NOW, orphaned: false },
    ]);
  });
});

describe('a mint that is given up when others have settled it', () => {
  it('may arrive from now on: it is lost now, and a confirming mint is owed before its overlap ends', () => {
    const { epoch, intents, pendingConfirmation } = sharedOf(
      conclude(recordWith(7, 5), intent(3, 'r1'), 'classic', 'lost', at),
    );
    expect(intents).toEqual([{ ...intent(3, 'r1', true), time: NOW }]);
    expect(epoch).toBe(6); // so that no mint in progress is taken for alone
    expect(pendingConfirmation?.epoch).toBe(6);
    expect(pendingConfirmation?.time).toBeGreaterThan(NOW);
    expect(pendingConfirmation?.time).toBeLessThan(NOW + OVERLAP - 30 * SECOND);
  });

  it.each(['undone', 'outlived'] as const)('leaves nothing where it is known to be %s', (how) => {
    const record = recordWith(7, 5);
    expect(conclude(record, intent(3, 'r1'), 'classic', how, at)).toBe(record);
  });

  it('is asked about once where the store was emptied meanwhile, and counts from the beginning', () => {
    const { epoch, pendingConfirmation } = sharedOf(
      conclude(recordWith(7, 5), intent(60, 'r1'), 'classic', 'lost', at),
    );
    expect([epoch, pendingConfirmation?.epoch]).toEqual([61, 61]);
  });

  it('is recorded once', () => {
    const once = conclude(recordWith(7, 5), intent(3, 'r1'), 'classic', 'lost', at);
    expect(sharedOf(conclude(once, intent(3, 'r1'), 'classic', 'lost', at)).intents).toHaveLength(1);
  });
});

describe('an answer that is stored long after it was asked for, since the store was away', () => {
  const sentAgoMs = 90 * MINUTE;
  const ours: Intent = { epoch: 5, replica: 'r1', time: NOW - sentAgoMs, orphaned: false };
  const theirs: Intent = { epoch: 6, replica: 'r2', time: NOW - 10 * SECOND, orphaned: true };
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
      wallNow: NOW,
      generationStep: 1,
      previousIsHonoured: true,
      overlapMs: OVERLAP,
      due: () => now,
    };
    const times = { sentTime: NOW - sentAgoMs, time: NOW, answeredTime: NOW - sentAgoMs + 50, currentTime: undefined };
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
});

describe('an answer that comes when its process, which had stood still, goes on', () => {
  const ours: Intent = { epoch: 5, replica: 'r1', time: NOW - 200 * SECOND, orphaned: false };
  const confirming: Intent = { epoch: 7, replica: 'r2', time: NOW, orphaned: false };
  /** The epoch of the pending confirmation after it, where another has refreshed the app and a mint of that one is under way. */
  const owed = (seenEpoch: number | undefined, debtEpoch: number) => {
    const now = 1e7;
    const sentAt = now - 200 * SECOND;
    const current = holding(recordWith(8, 7, ours, confirming), 'c', sentAt + 15 * SECOND);
    const record = withShared(current, { pendingConfirmation: { epoch: debtEpoch, time: NOW } });
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
      wallNow: NOW,
      generationStep: 1,
      previousIsHonoured: true,
    } as const;
    const times = { sentTime: NOW - 200 * SECOND, time: NOW, answeredTime: NOW, currentTime: NOW - 185 * SECOND };
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
    const time = NOW - 50;
    const lost: Intent = { epoch: 5, replica: 'r2', time: NOW - mintWindowMs(OVERLAP), orphaned: true };
    const ours: Intent = { epoch: 6, replica: 'r1', time, orphaned: false };
    const record = withShared(recordWith(7, 6, lost, ours), { pendingConfirmation: { epoch: 5, time: NOW } });
    const issued = { value: 'b', id: 'b', lifetimeMs: 2 * HOUR, sentAt, answeredAt: sentAt, mintedAt: sentAt };
    const context = {
      issuer: 'classic',
      trusted: true,
      isQuiet: false,
      now: sentAt,
      wallNow: NOW,
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

describe('a store that went back', () => {
  it('is behind by its generation, and with the same generation by its epoch', () => {
    expect(isBehind(recordWith(6, 9), recordWith(7, 3))).toBe(true);
    expect(isBehind(recordWith(7, 2), recordWith(7, 3))).toBe(true);
    expect(isBehind(recordWith(7, 3), recordWith(7, 3))).toBe(false);
    expect(isBehind(recordWith(8, 1), recordWith(7, 3))).toBe(false);
  });

  it('gets back the mints that are known here, and keeps those that it names, which nobody waits for', () => {
    const { epoch, intents } = sharedOf(restored(recordWith(7, 5, intent(5, 'r1')), recordWith(6, 2, intent(2, 'r2'))));
    expect(epoch).toBe(5);
    expect(intents).toEqual([intent(5, 'r1'), intent(2, 'r2', true)]);
  });

  it('owes a confirming mint where its token was made after ours, by a clock that was set back', () => {
    const ours = holding(recordWith(7, 5), 'a', 1_000);
    expect(sharedOf(restored(ours, holding(recordWith(6, 1), 'b', 500))).pendingConfirmation).toBeNull();
    expect(sharedOf(restored(ours, holding(recordWith(6, 1), 'b', 2_000))).pendingConfirmation).toMatchObject({
      epoch: 5,
    });
    expect(restored(ours, holding(recordWith(6, 1), 'b', 2_000)).current?.value).toBe('a');
  });
});
