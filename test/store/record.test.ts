import { expect, test } from 'vitest';
import { decodeRecord, encodeRecord } from '../../src/store/record.ts';
import { record } from './support.ts';

test('a record is stored under the names that it has always had: replicas of two versions may share a store', () => {
  const shared = {
    commitTime: 5,
    epoch: 7,
    intents: [
      { epoch: 6, replica: 'r1', time: 1, orphaned: true },
      { epoch: 7, replica: 'r2', time: 2, orphaned: false },
    ],
    pendingConfirmation: { epoch: 7, time: 9 },
    dead: false,
    warning: '',
    trouble: null,
  };
  const app = record({ shared });
  const text = encodeRecord(app);
  expect(JSON.parse(text).shared).toEqual({
    commitTime: 5,
    epoch: 7,
    intents: [
      { epoch: 6, replica: 'r1', time: 1, lost: true },
      { epoch: 7, replica: 'r2', time: 2, lost: false },
    ],
    debt: { epoch: 7, time: 9 },
    dead: false,
    warning: '',
    trouble: null,
  });
  expect(decodeRecord(app.appId, text, 'the store')).toEqual(app);
});
