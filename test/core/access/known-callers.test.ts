import { expect, it } from 'vitest';
import { KnownCallers, MAX_KNOWN_CALLERS } from '../../../src/core/access/known-callers.ts';
import { caller } from '../../support/access.ts';
import { FakeClock } from '../../support/clock.ts';

it('each credential of a caller is known by itself', () => {
  const known = new KnownCallers(new FakeClock());
  for (const credentialId of ['b', 'a', null]) known.used(caller('key:x', { credentialId }));
  known.used(caller('key:x', { credentialId: 'a' }));
  expect(known.list().map(({ principal }) => principal.credentialId)).toEqual([null, 'a', 'b']);
});

it('so many are known and no more: who has open streams, or has called since, is forgotten last', () => {
  const known = new KnownCallers(new FakeClock());
  known.used(caller('key:old'));
  known.opened(caller('key:streams'));
  for (let i = 2; i < MAX_KNOWN_CALLERS; i++) known.used(caller(`key:${i}`));
  // All are fresh: the first sixteen are looked at once, and from then on those that were not used since go first.
  known.used(caller('key:new'));
  known.used(caller('key:3'));
  for (let i = 0; i < 3_000; i++) known.used(caller(`key:more-${i}`));
  const names = new Set(known.list().map(({ principal }) => principal.name));
  expect(names.size).toBe(MAX_KNOWN_CALLERS);
  expect([names.has('key:streams'), names.has('key:more-2999')]).toEqual([true, true]);
});

it('who was forgotten and calls again is known again', () => {
  const known = new KnownCallers(new FakeClock());
  const first = caller('key:first');
  known.used(first);
  for (let i = 0; i < 2 * MAX_KNOWN_CALLERS; i++) known.used(caller(`key:${i}`));
  const names = () => known.list().map(({ principal }) => principal.name);
  expect(names()).not.toContain('key:first');
  known.used(first);
  expect(names()).toContain('key:first');
});
