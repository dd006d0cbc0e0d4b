import { expect, it } from 'vitest';
import { peerName } from '../../src/transport/peer.ts';

it.each([
  ['10.0.0.1', '10.0.0.1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['2001:db8::1', '2001:db8::1'],
  ['::ffff:0:1', '::ffff:0:1'],
  [undefined, 'unknown'],
])('%s is known as %s', (remoteAddress, name) => {
  expect(peerName({ remoteAddress })).toBe(name);
});

it('of no connection nothing is known', () => {
  expect([peerName(undefined), peerName(null)]).toEqual(['unknown', 'unknown']);
});
