import { expect, it } from 'vitest';
import { adviseOnName, formatKeys, KeyFileError, MAX_KEYS, parseKeys } from '../../src/access/key-file.ts';
import { keyFile, makeKey } from '../support/access-key.ts';

const one = makeKey('orders', { created: Date.UTC(2026, 0, 1), expires: Date.UTC(2027, 0, 1) });
const [, line = ''] = keyFile(one).split('\n');

function problems(text: string): string {
  try {
    parseKeys(text);
  } catch (error) {
    if (error instanceof KeyFileError) return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

function changed(fields: Record<string, unknown>): string {
  return problems(`# a\n\n${JSON.stringify({ ...JSON.parse(line), ...fields })}\n`);
}

it('what is written is read again, and holds no key', () => {
  const keys = [one.stored, makeKey('a.b-c_D', { created: 5 }).stored];
  const text = formatKeys(keys);
  expect(parseKeys(text)).toEqual(keys);
  expect(parseKeys(text.replaceAll('\n', '\r\n'))).toEqual(keys);
  expect(text).not.toContain(one.key.slice(8, 40));
  expect(text.split('\n')).toHaveLength(4);
});

it('comments, empty lines and an empty file are fine', () => {
  expect(parseKeys('')).toEqual([]);
  expect(parseKeys(`\uFEFF# for us\n\n  ${line}  \n#{`)).toEqual([one.stored]);
});

it.each([
  ['half a line', () => problems(`${line.slice(0, 50)}\n`), 'line 1 is not JSON; restore'],
  ['no object', () => problems('\n[]\n'), 'line 2 is not a JSON object'],
  ['a field that is missing', () => changed({ hash: undefined }), 'line 3 has no "hash"'],
  ['a field too many', () => changed({ expire: null }), 'line 3 has a field too many'],
  ['a name with a star', () => changed({ name: 'a*' }), 'line 3 "name" is not 1 to 64 letters'],
  ['no name', () => changed({ name: 1 }), 'line 3 "name" is no text'],
  ['a hash in capitals', () => changed({ hash: one.stored.hash.toUpperCase() }), 'line 3 "hash" is not 64 hex digits'],
  ['an id of another hash', () => changed({ id: '000000000000' }), 'line 3 "id" is not the first 12 digits'],
  ['a public half that is cut', () => changed({ public: 'AAAA' }), 'line 3 "public" is not 32 bytes'],
  ['bits beyond 32 bytes', () => changed({ public: `${'A'.repeat(42)}B` }), 'line 3 "public" is not 32 bytes'],
  ['a time in words', () => changed({ created: 'yesterday' }), 'line 3 "created" is no time; write it as'],
  ['a day that is none', () => changed({ expires: '2027-02-30T00:00:00Z' }), 'line 3 "expires" is no time'],
  ['a time without its zone', () => changed({ expires: '2027-02-03T00:00:00' }), 'or null for never'],
  ['the same key again', () => problems(`${line}\n#\n${line}`), 'line 3 is the key of line 1 again; keep one'],
])('%s is told with its line and what to do', (_, run, expected) => {
  expect(run()).toContain(expected);
});

it('a hash is not in what is said of it, nor is what stands in its place', () => {
  expect(changed({ hash: one.key })).not.toContain(one.key.slice(8));
  expect(problems(one.key)).not.toContain(one.key.slice(8));
});

it('there are bounds: of problems that are told, and of keys', () => {
  expect(problems('x\n'.repeat(1000)).split('\n')).toHaveLength(20);
  const many = Array.from({ length: MAX_KEYS + 1 }, (_, i) => {
    const id = i.toString(16).padStart(12, '0');
    return { ...one.stored, name: 'n'.repeat(64), id, hash: id + one.stored.hash.slice(12) };
  });
  expect(problems(formatKeys(many))).toBe(`it has more than ${MAX_KEYS} keys; revoke those that nobody uses`);
  const most = formatKeys(many.slice(1));
  expect(parseKeys(most)).toHaveLength(MAX_KEYS);
  expect(most.length).toBeLessThan(1024 * 1024);
});

it('a name is not a key, and not what an id may be', () => {
  expect(adviseOnName('orders')).toBeUndefined();
  expect(adviseOnName(one.key)).toContain('looks like a key');
  expect(adviseOnName('3f9a12c07b1e')).toContain('looks like the id of a key');
  for (const name of ['', '-a', 'a b', 'a*', 'a/b', 'ä', 'a'.repeat(65), 'a\n'])
    expect(adviseOnName(name)).toBeTruthy();
});
