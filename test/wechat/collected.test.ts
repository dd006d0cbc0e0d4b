import { expect, test } from 'vitest';
import { Collected } from '../../src/wechat/collected.ts';

test('64 KiB in pieces of one byte are collected in order, and none more', () => {
  const collected = new Collected();
  const whole = Buffer.from(Array.from({ length: 65_536 }, (_, i) => i % 251));
  for (const byte of whole) expect(collected.add(Buffer.of(byte))).toBe(true);
  expect(collected.add(Buffer.of(1))).toBe(false);
  expect(collected.bytes.equals(whole)).toBe(true);
});

test.each([[[65_536]], [[65_535, 1]], [[1, 65_535]], [[0, 7, 40_000, 0]]])('pieces of %j bytes', (sizes) => {
  const collected = new Collected();
  const pieces = sizes.map((size, i) => Buffer.alloc(size, i + 1));
  expect(pieces.every((piece) => collected.add(piece))).toBe(true);
  expect(collected.bytes.equals(Buffer.concat(pieces))).toBe(true);
});

test('nothing of a piece is held: it may be a byte of a large one', () => {
  const collected = new Collected();
  const piece = Buffer.from('a');
  collected.add(piece);
  piece.write('b');
  expect(collected.bytes.toString()).toBe('a');
});

test('nothing collected is nothing; what is too much is left out', () => {
  const collected = new Collected();
  expect(collected.add(Buffer.alloc(65_537))).toBe(false);
  expect(collected.bytes).toHaveLength(0);
});
