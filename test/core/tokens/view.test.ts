import { describe, expect, it } from 'vitest';
import { RECORD_SEALED } from '../../../src/core/kernel/errors.ts';
import { Timeline } from '../../../src/core/kernel/timeline.ts';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import { type Facts, sameView, viewOf } from '../../../src/core/tokens/view.ts';
import { HELD, NOW, token, upstreamError, WALL } from '../../support/records.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const timeline = new Timeline({ now: () => WALL, monotonic: () => NOW, schedule: () => ({ cancel: () => undefined }) });
const WELL: Facts = {
  appId: 'wx',
  record: { ...HELD, previous: token('z', HOUR + MINUTE) },
  health: { kind: 'well' },
  trust: 'trusted',
  storeFailing: false,
  isSealed: false,
  suspicion: '',
  secretFault: '',
  warnings: [''],
  nextRefreshAt: NOW + MINUTE,
};
const view = (change: Partial<Facts> = {}) => viewOf({ ...WELL, ...change }, NOW, timeline);
const holding = (change: Partial<Facts['record']>) => ({ record: { ...WELL.record, ...change } });
const failing = { kind: 'failing', error: upstreamError({ kind: 'backoff' }), failures: 1, retryAt: NOW } as const;
const EXPIRED = token('a', 2 * HOUR);

describe('what callers see', () => {
  it('is on the wall clock, and frozen', () => {
    const state = view();
    expect(state).toEqual({
      appId: 'wx',
      generation: 7,
      current: { value: 'a', id: 'a', issueTime: WALL - HOUR, expireTime: WALL + HOUR },
      previous: { value: 'z', id: 'z', issueTime: WALL - HOUR - MINUTE, expireTime: WALL + HOUR - MINUTE },
      status: 'FRESH',
      statusReason: '',
      nextRefreshTime: WALL + MINUTE,
      answeredAt: NOW - HOUR + 50,
    });
    expect(Object.isFrozen(state)).toBe(true);
  });

  it.each<[string, Partial<Facts>, string | undefined, string | undefined]>([
    ['both tokens', {}, 'a', 'z'],
    ['no token that has expired, nor one before it', holding({ current: EXPIRED }), undefined, undefined],
    ['no previous one that has expired', holding({ previous: EXPIRED }), 'a', undefined],
    ['no previous one that an open mint may have displaced', holding({ openMints: 1 }), 'a', undefined],
    ['a token that WeChat refuses: there is no better one', { trust: 'dead' }, 'a', 'z'],
  ])('%s', (_, change, current, previous) => {
    const state = view(change);
    expect([state.current?.value, state.previous?.value]).toEqual([current, previous]);
  });

  it.each([
    ['when WeChat is next asked', NOW + MINUTE, WALL + MINUTE],
    ['now, where that has passed', NOW - MINUTE, WALL],
    ['never', Infinity, null],
  ])('%s', (_, nextRefreshAt, expected) => {
    expect(view({ nextRefreshAt }).nextRefreshTime).toBe(expected);
  });
});

describe('the status', () => {
  const REFUSED = 'WeChat refuses the current token';
  const STORE = 'the store cannot be written; the token is served from memory and the write is repeated';

  it.each<[string, Partial<Facts>, TokenState['status'], string]>([
    ['a good token', {}, 'FRESH', ''],
    ['a good token and a warning', { warnings: ['', 'mind this', '', 'and that'] }, 'FRESH', 'mind this; and that'],
    ['a failing refresh', { health: failing }, 'DEGRADED', 'WeChat is ill'],
    ['a dead token', { trust: 'dead' }, 'DEGRADED', REFUSED],
    ['a report that WeChat has not answered', { suspicion: 'reported' }, 'DEGRADED', 'reported'],
    ['a report of a token that is dead', { suspicion: 'reported', trust: 'dead' }, 'DEGRADED', 'reported'],
    ['a store that cannot be written', { storeFailing: true }, 'DEGRADED', STORE],
    ['a record that cannot be opened', { storeFailing: true, isSealed: true }, 'DEGRADED', RECORD_SEALED],
    ['a changed secret that is wrong', { secretFault: 'wrong secret' }, 'DEGRADED', 'wrong secret'],
    [
      'all at once, the worst first and warnings last',
      { trust: 'dead', health: failing, storeFailing: true, secretFault: 'wrong secret', warnings: ['mind this'] },
      'DEGRADED',
      `${REFUSED}; WeChat is ill; ${STORE}; wrong secret; mind this`,
    ],
    ['no token yet', holding({ current: null, generation: 0 }), 'PENDING', ''],
    [
      'no token yet, and why',
      { ...holding({ current: null, generation: 0 }), health: failing },
      'PENDING',
      'WeChat is ill',
    ],
    ['a token that has expired', holding({ current: EXPIRED }), 'EXPIRED', ''],
    [
      'an expired one, of which nothing is said that no longer matters',
      { ...holding({ current: EXPIRED }), trust: 'dead', suspicion: 'reported', health: failing },
      'EXPIRED',
      'WeChat is ill',
    ],
  ])('of %s', (_, change, status, statusReason) => {
    expect(view(change)).toMatchObject({ status, statusReason });
  });
});

describe('watchers are told', () => {
  it.each<[string, Partial<Facts>, boolean]>([
    ['nothing where nothing changed', {}, false],
    ['nothing of when WeChat is next asked', { nextRefreshAt: NOW + SECOND }, false],
    ['of a new generation', holding({ generation: 8 }), true],
    ['of another token', holding({ current: token('b', HOUR) }), true],
    ['of another end', holding({ current: token('a', HOUR, HOUR + MINUTE) }), true],
    ['that the one before is gone', holding({ previous: null }), true],
    ['of another status', holding({ current: EXPIRED, previous: null }), true],
    ['of another reason', { warnings: ['mind this'] }, true],
  ])('%s', (_, change, differs) => {
    expect(sameView(view(), view(change))).toBe(!differs);
  });
});
