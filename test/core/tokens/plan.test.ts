import { describe, expect, it } from 'vitest';
import { type Plan, planNext, retryAtLatest, type Situation } from '../../../src/core/tokens/plan.ts';
import { HELD, NOW, refusal, token, upstreamError } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Half an hour old: due in half an hour, and expired an hour later. */
const CURRENT = token('a', 30 * MINUTE);
const DUE = NOW + 30 * MINUTE;
const OVERDUE = token('a', 61 * MINUTE);
const EXPIRED = token('a', 2 * HOUR);
const RETRY = NOW + 7 * SECOND;

/** A trusted classic token in use, and nothing the matter. */
const WELL: Situation = {
  record: { ...HELD, current: CURRENT },
  health: { kind: 'well' },
  trust: 'trusted',
  doubt: null,
  issuer: 'classic',
  isSwitched: false,
  confirmationDueAt: Infinity,
  lookAt: Infinity,
  trialAt: Infinity,
  startAt: Number.NEGATIVE_INFINITY,
};
const failing: Situation['health'] = {
  kind: 'failing',
  error: upstreamError({ kind: 'backoff' }),
  failures: 2,
  retryAt: RETRY,
};
const holding = (current: typeof CURRENT | null) => ({ record: { ...HELD, current } });
const stable = { issuer: 'stable', record: { ...HELD, issuer: 'stable', current: CURRENT } } as const;

describe('what is done next', () => {
  it.each<[string, Partial<Situation>, Plan['step'], number]>([
    ['renew when the token is due', {}, 'renew', DUE],
    ['renew at once where it is overdue', holding(OVERDUE), 'renew', OVERDUE.dueAt],
    [
      'renew when it ends, where that is before it is due',
      holding({ ...CURRENT, dueAt: NOW + 9 * HOUR }),
      'renew',
      CURRENT.expiresAt,
    ],
    [
      'renew as soon as calls may begin where there is no token',
      { ...holding(null), startAt: NOW + SECOND },
      'renew',
      NOW + SECOND,
    ],
    ['the same where it has expired', { ...holding(EXPIRED), startAt: NOW + SECOND }, 'renew', NOW + SECOND],
    ['renew no sooner than calls may begin', { startAt: DUE + SECOND }, 'renew', DUE + SECOND],
    [
      'renew early where mints of unknown outcome ask for it',
      { confirmationDueAt: NOW + SECOND },
      'renew',
      NOW + SECOND,
    ],
    ['renew on the schedule where they ask later', { confirmationDueAt: DUE + SECOND }, 'renew', DUE],
    [
      'after a failure when that is tried again, however overdue',
      { ...holding(OVERDUE), health: failing },
      'renew',
      RETRY,
    ],
    [
      'after a failure also where there is no token',
      { ...holding(null), health: failing, startAt: NOW },
      'renew',
      RETRY,
    ],

    ['replace a dead token at once', { trust: 'dead', startAt: NOW }, 'replace_dead', NOW],
    [
      'replace a dead token after a failure when that is tried again',
      { trust: 'dead', health: failing },
      'replace_dead',
      RETRY,
    ],
    [
      'renew a dead classic token that is due anyway',
      { trust: 'dead', ...holding(OVERDUE), startAt: NOW },
      'renew',
      NOW,
    ],
    [
      'renew a dead classic one that an unknown mint may have replaced',
      { trust: 'dead', confirmationDueAt: NOW, startAt: NOW },
      'renew',
      NOW,
    ],
    [
      'replace a dead stable one also where it is due',
      { issuer: 'stable', trust: 'dead', record: { ...HELD, issuer: 'stable', current: OVERDUE }, startAt: NOW },
      'replace_dead',
      NOW,
    ],
    ['renew one that is dead and expired', { trust: 'dead', ...holding(EXPIRED), startAt: NOW }, 'renew', NOW],

    ['renew at once where the issuer was switched', { issuer: 'stable', isSwitched: true, startAt: NOW }, 'renew', NOW],
    [
      'leave alone what a replica that is configured otherwise has brought',
      { issuer: 'stable', startAt: NOW },
      'renew',
      DUE,
    ],
    ['and what has come from the new issuer already', { ...stable, isSwitched: true, startAt: NOW }, 'renew', DUE],

    [
      'ask whether a token lives whose life the clock may have ended',
      { ...holding(EXPIRED), doubt: CURRENT, startAt: NOW },
      'confirm',
      NOW,
    ],
    ['not where it would be over anyway', { ...holding(null), doubt: EXPIRED, startAt: NOW }, 'renew', NOW],
    [
      'not where a read costs nothing',
      { ...stable, record: { ...HELD, current: null }, doubt: CURRENT, startAt: NOW },
      'renew',
      NOW,
    ],

    ['look at a token that is reported', { lookAt: NOW + SECOND }, 'look', NOW + SECOND],
    ['renew where that comes first', { lookAt: DUE + SECOND }, 'renew', DUE],
    [
      'not look at one that is known to be dead',
      { lookAt: NOW - SECOND, trust: 'dead', startAt: NOW },
      'replace_dead',
      NOW,
    ],
    ['not look while refreshes fail', { lookAt: NOW + SECOND, health: failing }, 'renew', RETRY],
    ['not look at one that has expired', { lookAt: NOW - SECOND, ...holding(EXPIRED), startAt: NOW }, 'renew', NOW],

    ['try a changed secret by a read where the next mint is far', { trialAt: NOW }, 'try_secret', NOW],
    ['try it by the mint itself where that is near', { trialAt: DUE - 10 * MINUTE }, 'renew', DUE - 10 * MINUTE],
    ['try it by the read that a stable token needs', { ...stable, trialAt: NOW }, 'renew', NOW],
    ['not try it before what is due sooner', { trialAt: DUE + SECOND }, 'renew', DUE],
    ['try it before a reported token is looked at', { trialAt: NOW, lookAt: NOW }, 'try_secret', NOW],
  ])('%s', (_, change, step, at) => {
    expect(planNext({ ...WELL, ...change }, NOW)).toEqual({ step, at });
  });
});

describe('when a refresh that failed is tried again', () => {
  const POLL = 15 * SECOND;
  const PLANNED = NOW + 2 * HOUR;
  const upstream = upstreamError({ kind: 'never' });
  const dead = { record: WELL.record, trust: 'dead', issuer: 'classic' } as const;

  it.each<[string, Parameters<typeof retryAtLatest>[0], Parameters<typeof retryAtLatest>[1], number]>([
    ['as its error says', { ...dead, trust: 'trusted' }, { error: refusal(), isRead: false }, PLANNED],
    [
      'as its error says where there is no token',
      { ...dead, ...holding(null) },
      { error: refusal(), isRead: false },
      PLANNED,
    ],
    ['on the schedule where a dead classic token was not asked for', dead, { error: refusal(), isRead: false }, DUE],
    ['not on the schedule where WeChat itself refused', dead, { error: upstream, isRead: false }, PLANNED],
    [
      'not on a schedule that has passed',
      { ...dead, ...holding(OVERDUE) },
      { error: refusal(), isRead: false },
      PLANNED,
    ],
    [
      'by a read at the next poll where a forced call failed',
      { ...dead, issuer: 'stable' },
      { error: upstream, isRead: false },
      NOW + POLL,
    ],
    [
      'as its error says where it was the read that failed',
      { ...dead, issuer: 'stable' },
      { error: upstream, isRead: true },
      PLANNED,
    ],
  ])('%s', (_, situation, failure, expected) => {
    expect(retryAtLatest(situation, failure, PLANNED, NOW, POLL)).toBe(expected);
  });

  it('never later than its error says', () => {
    expect(retryAtLatest(dead, { error: refusal(), isRead: false }, NOW + SECOND, NOW, POLL)).toBe(NOW + SECOND);
    const forced = { error: upstream, isRead: false };
    expect(retryAtLatest({ ...dead, issuer: 'stable' }, forced, NOW + SECOND, NOW, POLL)).toBe(NOW + SECOND);
  });
});
