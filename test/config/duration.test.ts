import { expect, test } from 'vitest';
import { parseDuration } from '../../src/config/duration.ts';

test.each([
  ['0s', 0],
  ['500ms', 500],
  ['5s', 5_000],
  ['15m', 900_000],
  ['24h', 86_400_000],
  ['5', undefined],
  ['', undefined],
  ['s', undefined],
  ['-1s', undefined],
  ['1.5s', undefined],
  ['1 s', undefined],
  ['1S', undefined],
  ['1h30m', undefined],
  ['1d', undefined],
  ['1e3s', undefined],
  ['9999999999s', undefined],
])('%j is %s ms', (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});
