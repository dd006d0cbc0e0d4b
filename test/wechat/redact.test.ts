import { describe, expect, test } from 'vitest';
import { tokenError } from '../../src/wechat/errcodes.ts';
import { redact } from '../../src/wechat/redact.ts';

const SECRET = '0a1b2c/ d3~e4+f5"\\令牌';
const params = new URLSearchParams({ s: SECRET }).toString().slice(2);
const base64 = (text: string, encoding: 'base64' | 'base64url' = 'base64') => Buffer.from(text).toString(encoding);

describe('a secret is taken out', () => {
  test.each([
    ['as it is', SECRET],
    ['in capitals', SECRET.toUpperCase()],
    ['as JSON writes it', JSON.stringify(SECRET).slice(1, -1)],
    ['as encodeURIComponent writes it', encodeURIComponent(SECRET)],
    ['so, in lower case', encodeURIComponent(SECRET).toLowerCase()],
    ['as URLSearchParams writes it', params],
    ['so, in lower case', params.toLowerCase()],
    ['twice', `${SECRET}${SECRET}`],
  ])('%s', (_, written) => {
    expect(redact(`no: secret=${written}&appid=wx1`, [SECRET])).toMatch(/^no: secret=(\*\*\*)+&appid=wx1$/);
  });

  const key = '9f3c0b7d5e1a42688877665544332211';
  test.each(['', 'w', 'wx', 'wx1', '{"appid":"wx1","secret":"', '令'])(
    'out of base64 of text that begins with %j',
    (before) => {
      for (const after of ['', '"', '"}', '"}\n']) {
        for (const encoding of ['base64', 'base64url'] as const) {
          const [left = '', right = ''] = redact(base64(before + key + after, encoding), [key]).split('***');
          // Every character that holds nothing but the secret is gone.
          expect(left.length).toBe(Math.ceil((Buffer.byteLength(before) * 8) / 6));
          expect(right.length).toBeLessThanOrEqual(Math.ceil(((after.length + 2) * 8) / 6));
        }
      }
    },
  );

  test('out of base64 in letters of the wrong case', () => {
    expect(redact(base64(key).toLowerCase(), [key])).toMatch(/^\*\*\*.?={0,2}$/);
  });
});

test('secrets that overlap leave nothing of one another', () => {
  expect(redact('x abcdefgh x', ['abcde', 'defgh'])).toBe('x *** x');
  expect(redact('x abcabcab x', ['abcab'])).toBe('x *** x');
  expect(redact('x oABC-1 oABC x', ['oABC', 'oABC-1'])).toBe('x *** *** x');
});

test('what is short is a secret where it stands alone, in any case', () => {
  expect(redact('invalid form F, if f', ['f', ''])).toBe('invalid form ***, if ***');
});

/** How many times longer `work` takes on a text eight times as long; the best of several, for others use the machine too. */
function growth(work: (length: number) => void): number {
  const best = (length: number): number =>
    Math.min(
      ...Array.from({ length: 5 }, () => {
        const start = performance.now();
        work(length);
        return performance.now() - start;
      }),
    );
  best(2_048);
  return best(32_768) / best(4_096);
}

test.each([
  ['spaces', (length: number) => `${' '.repeat(length)}x`, SECRET],
  ['commas and spaces', (length: number) => `${', '.repeat(length / 2)}x`, SECRET],
  ['rids', (length: number) => `${'rid: 1-2-3 '.repeat(length / 11)}x`, SECRET],
  ['control characters', (length: number) => `${'\u0000'.repeat(length)}x`, SECRET],
  ['a letter over and over', (length: number) => 'a'.repeat(length), 'a'.repeat(2_048)],
  ['all but the end of a secret', (length: number) => 'a'.repeat(length), `${'a'.repeat(2_047)}b`],
  [
    'all but the middle of a secret',
    (length: number) => 'a'.repeat(length),
    `${'a'.repeat(1_024)}b${'a'.repeat(1_023)}`,
  ],
])('an errmsg of %s takes no more than its length', (_, errmsg, secret) => {
  // What is linear takes 8 times as long, what is quadratic 64 times.
  expect(growth((length) => void tokenError(40013, errmsg(length), [secret]))).toBeLessThan(32);
});
