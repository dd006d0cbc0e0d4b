import { stripVTControlCharacters } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { expect, it } from 'vitest';
import { render } from '../../src/commands/live-view.ts';
import { TokenStateSchema, TokenStatus } from '../../src/gen/lingpai/v1/token_pb.js';

const now = Date.UTC(2026, 0, 1);
const token = (id: string, leftMs: number) => ({
  id,
  value: `value of ${id}`.repeat(9),
  expireTime: timestampFromMs(now + leftMs),
});
const state = (init: object) =>
  create(TokenStateSchema, { appId: 'wxa', generation: 7n, status: TokenStatus.FRESH, ...init });
const picture = (states: ReturnType<typeof state>[], options = {}) =>
  render({ title: 'here: connected', states, now, width: 100, showToken: false, ...options }).map(
    stripVTControlCharacters,
  );

it('shows each app with the time left', () => {
  expect(picture([state({ current: token('aaaa', 3_599_000), previous: token('bbbb', 61_000) })])).toEqual([
    'here: connected',
    'APP  STATUS  GENERATION  TOKEN  LEFT   PREVIOUS  GRACE',
    'wxa  FRESH   7           aaaa   59:59  bbbb      1:01',
  ]);
});

it('says why, and shows values only when asked', () => {
  const expired = state({ status: TokenStatus.EXPIRED, statusReason: 'the IP is not allowed' });
  expect(picture([expired]).slice(2)).toEqual(['wxa  EXPIRED  7', 'wxa: the IP is not allowed']);
  const live = state({ current: token('aaaa', 1000) });
  expect(picture([live]).join('')).not.toContain('value of');
  expect(picture([live], { showToken: true }).join('')).toContain('value of aaaa');
});

it('never makes a row that the terminal would wrap', () => {
  const long = state({ statusReason: 'x'.repeat(250), current: token('aaaa', 1000) });
  for (const width of [20, 41, 80]) {
    for (const row of picture([long], { width, showToken: true, title: 't'.repeat(99) })) {
      expect(row.length).toBeLessThanOrEqual(width);
    }
  }
});
