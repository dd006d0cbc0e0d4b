import { describe, expect, it } from 'vitest';
import { dueAt } from '../../../src/core/tokens/schedule.ts';
import { HOUR, MINUTE, SECOND, SETTINGS } from '../../support/world.ts';

const BORN = 5 * HOUR;
const due = (issuer: 'classic' | 'stable', lifeMs: number, draw: number, settings = {}) =>
  dueAt({ issuedAt: BORN, expiresAt: BORN + lifeMs }, issuer, { ...SETTINGS, ...settings }, draw) - BORN;

describe('a classic token is replaced at half its life, 10 % sooner or later', () => {
  it.each([
    ['soonest', 2 * HOUR, 0, 54 * MINUTE],
    ['in the middle', 2 * HOUR, 0.5, 60 * MINUTE],
    ['latest', 2 * HOUR, 1, 66 * MINUTE],
    ['of a life that WeChat has shortened', 10 * MINUTE, 0.5, 5 * MINUTE],
    ['never sooner than a second, however short it lives', SECOND, 0.5, SECOND],
  ])('%s', (_, lifeMs, draw, expected) => {
    expect(due('classic', lifeMs, draw)).toBeCloseTo(expected);
  });

  it('at another share where that is configured', () => {
    expect(due('classic', 2 * HOUR, 0.5, { classicAt: 0.8 })).toBeCloseTo(96 * MINUTE);
  });
});

describe('a stable token is looked at from the overlap before its end', () => {
  it.each([
    ['soonest', 2 * HOUR, 0, 115 * MINUTE],
    ['latest, one pause between reads later', 2 * HOUR, 1, 115 * MINUTE + 15 * SECOND],
    ['again after a pause, when it is in its last minutes', 2 * MINUTE, 0, 15 * SECOND],
    ['after a quarter of what is left of it, where that is less', 20 * SECOND, 0, 5 * SECOND],
    ['never sooner than a second', 2 * SECOND, 0, SECOND],
  ])('%s', (_, remainingMs, draw, expected) => {
    expect(due('stable', remainingMs, draw)).toBe(expected);
  });
});
