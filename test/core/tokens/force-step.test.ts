import { expect, it } from 'vitest';
import { type ForceFacts, forceStep } from '../../../src/core/tokens/force.ts';

const REPORT: ForceFacts = {
  isReport: true,
  isUsable: true,
  issuer: 'stable',
  trust: 'trusted',
  isSuspected: false,
  isReadWorthwhile: true,
};
const INSIST: ForceFacts = { ...REPORT, isReport: false };

it.each<[string, ForceFacts, ReturnType<typeof forceStep>]>([
  ['a report of a token that is thought good', REPORT, 'ask'],
  ['of a classic one', { ...REPORT, issuer: 'classic' }, 'ask'],
  ['of one that is suspected already', { ...REPORT, isSuspected: true }, 'ask'],
  ['of a stable one that is dead', { ...REPORT, trust: 'dead' }, 'read'],
  ['where reads are refused', { ...REPORT, trust: 'dead', isReadWorthwhile: false }, 'join'],
  ['of a classic one that is dead', { ...REPORT, trust: 'dead', issuer: 'classic' }, 'join'],
  ['where there is no token', { ...REPORT, isUsable: false }, 'join'],
  ['an operator', INSIST, 'mint'],
  ['an operator, where there is no token', { ...INSIST, isUsable: false, trust: 'dead' }, 'mint'],
  ['an operator, of a stable token that is dead', { ...INSIST, trust: 'dead' }, 'read'],
  ['an operator, of a stable token that is suspected', { ...INSIST, isSuspected: true }, 'read'],
  ['an operator, of a classic token that is dead', { ...INSIST, trust: 'dead', issuer: 'classic' }, 'mint'],
])('%s', (_, facts, expected) => {
  expect(forceStep(facts)).toBe(expected);
});
