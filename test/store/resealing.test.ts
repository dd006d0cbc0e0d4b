import { expect, test } from 'vitest';
import { Keyring, keyOf } from '../../src/store/keyring.ts';
import type { RawRecord, RawRecords } from '../../src/store/raw-records.ts';
import { sealingOf } from '../../src/store/resealing.ts';
import { newKeyText } from '../../src/store/seal-key.ts';

const KEY = newKeyText();
const sealed = Keyring.parse([KEY, 'plain']);
const behind = Keyring.parse(['plain', KEY]);

/** Records that are only here, and how many a pass over them by this keyring writes anew. */
function stored(...texts: string[]) {
  const records = texts.map((text, i): RawRecord => ({ appId: `wx${i}`, stored: text, text }));
  const raw: RawRecords = {
    async *pages() {
      yield [...records];
    },
    async swap(record, text) {
      records[records.indexOf(record)] = { ...record, stored: text, text };
      return true;
    },
    remove: () => expect.fail('nothing is removed'),
  };
  const pass = (keyring: Keyring) => sealingOf(raw, keyring, 'the store').reseal(async () => {});
  return { pass, keys: () => records.map(({ text }) => keyOf(text)) };
}

test('a replica that is a step behind takes no seal away', async () => {
  const { pass, keys } = stored(sealed.seal('wx0', '{}'), sealed.seal('wx1', '{}'));
  expect((await pass(behind)).resealed).toBe(0);
  expect(keys()).toEqual([sealed.sealing, sealed.sealing]);
});

test('what it writes itself is sealed by those that are further', async () => {
  const { pass, keys } = stored(sealed.seal('wx0', '{}'), behind.seal('wx1', '{}'));
  expect(keys()).toEqual([sealed.sealing, 'plain']);
  expect((await pass(sealed)).resealed).toBe(1);
  expect(keys()).toEqual([sealed.sealing, sealed.sealing]);
});
