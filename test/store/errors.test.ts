import { expect, test } from 'vitest';
import { explain, StoreError } from '../../src/store/errors.ts';

const sqlite = (errcode: number): Error => Object.assign(new Error('INSERT the-token'), { errcode });
const system = (code: string): Error => Object.assign(new Error('the-token'), { code });

test.each([
  ['busy', sqlite(5), /another process/],
  ['busy, a variant', sqlite(5 | (2 << 8)), /another process/],
  ['read-only', sqlite(8), /cannot be written.*writable/],
  ['I/O', sqlite(10 | (3 << 8)), /disk reports an error/],
  ['corrupt', sqlite(11), /damaged/],
  ['full', sqlite(13), /disk is full/],
  ['cannot open', sqlite(14), /cannot be opened/],
  ['not a database', sqlite(26), /not a database/],
  ['missing tables', sqlite(1), /tables are not those of a store/],
  ['another SQLite error', sqlite(21), /cannot be used as a store \(SQLITE_21\)/],
  ['ENOSPC', system('ENOSPC'), /disk is full/],
  ['EDQUOT', system('EDQUOT'), /quota/],
  ['EROFS', system('EROFS'), /read-only/],
  ['EACCES', system('EACCES'), /permission is denied/],
  ['EPERM', system('EPERM'), /mode 0600/],
  ['no code', new Error('the-token'), /cannot be used as a store \(unknown error\)/],
  ['no error', 'the-token', /cannot be used as a store \(unknown error\)/],
])('%s', (_, error, words) => {
  const explained = explain(error, '/data/lingpai.db');
  expect(explained).toBeInstanceOf(StoreError);
  expect(explained.message).toMatch(/^\/data\/lingpai\.db /);
  expect(explained.message).toMatch(words);
  expect(String(explained.stack).includes('the-token')).toBe(false);
});

test('a StoreError stays what it is', () => {
  const error = new StoreError('x');
  expect(explain(error, '/data/lingpai.db')).toBe(error);
});
