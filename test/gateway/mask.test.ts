import { describe, expect, it } from 'vitest';
import { Mask, masked } from '../../src/gateway/mask.ts';
import { changeParameters, decoded } from '../../src/gateway/parameters.ts';

describe('a mask', () => {
  const SECRET = 'lps1.lps1.abc';
  const TEXT = `lps1.${SECRET}lps1.lps1.ab${SECRET}${SECRET}lps1.l`;

  it('puts stars in the place of a secret, wherever it is cut', () => {
    const expected = TEXT.replaceAll(SECRET, '*'.repeat(SECRET.length));
    for (let first = 0; first <= TEXT.length; first++) {
      for (let second = first; second <= TEXT.length; second++) {
        const mask = new Mask(SECRET);
        const pieces = [TEXT.slice(0, first), TEXT.slice(first, second), TEXT.slice(second)];
        const passed = [...pieces.map((piece) => mask.push(Buffer.from(piece))), mask.flush()];
        expect(Buffer.concat(passed).toString()).toBe(expected);
      }
    }
  });

  it('leaves what it was given as it was, and an empty secret hides nothing', () => {
    const given = Buffer.from(TEXT);
    masked(given, SECRET);
    expect(given.toString()).toBe(TEXT);
    expect(masked(given, '').toString()).toBe(TEXT);
  });
});

describe('parameters', () => {
  it.each(['', 'a', '=', '&&', 'a=1&b', '%zz=%41', 'a=1&a=2&='])('stay as they are: %s', (text) => {
    expect(changeParameters(text, () => undefined)).toBe(text);
  });

  it('are given decoded, and changed as they are written', () => {
    const seen: string[] = [];
    const changed = changeParameters('a%3D=b+c&gone=1&last', (name, value) => {
      seen.push(`${name}|${value}`);
      return name === 'gone' ? null : name === 'last' ? 'x=%20' : undefined;
    });
    expect([changed, seen]).toEqual(['a%3D=b+c&x=%20', ['a=|b c', 'gone|1', 'last|']]);
  });

  it.each([
    ['%e4%bb%a4', '令'],
    ['%ff%41', 'ÿA'],
    ['a+b%2B', 'a b+'],
    ['%GG', '%GG'],
  ])('are read as a server may: %s', (text, expected) => {
    expect(decoded(text)).toBe(expected);
  });
});
