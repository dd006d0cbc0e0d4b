import { expect, test } from 'vitest';
import { ReadBatcher } from '../../../src/core/cluster/read-batcher.ts';

/** Reads of a store that answers when it is told to. */
function store() {
  const asked: { readonly appIds: readonly string[]; readonly answer: (fails?: boolean) => void }[] = [];
  const reads = new ReadBatcher((appIds) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    asked.push({ appIds, answer: (fails = false) => (fails ? reject(new Error('away')) : resolve()) });
    return promise;
  });
  return { reads, asked };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('what is asked for while something is read is read together, next', async () => {
  const { reads, asked } = store();
  const first = reads.ask('a');
  await turn();
  const rest = [reads.ask('a'), reads.ask('b'), reads.ask('b')];
  await turn();
  expect(asked.map(({ appIds }) => appIds)).toEqual([['a']]);
  asked[0]?.answer();
  expect(await first).toBe(true);
  await turn();
  expect(asked.map(({ appIds }) => appIds)).toEqual([['a'], ['a', 'b']]);
  asked[1]?.answer();
  expect(await Promise.all(rest)).toEqual([true, true, true]);
});

test('whoever asks is read for, at whatever moment', async () => {
  for (let steps = 0; steps < 20; steps++) {
    const { reads, asked } = store();
    void reads.ask('a');
    await turn();
    asked[0]?.answer();
    for (let i = 0; i < steps; i++) await undefined;
    const late = reads.ask('b');
    await turn();
    expect(asked.at(-1)?.appIds).toEqual(['b']);
    asked.at(-1)?.answer();
    expect(await late).toBe(true);
  }
});

test('a store that does not answer is told of, and asked again for what is asked for again', async () => {
  const { reads, asked } = store();
  const first = reads.ask('a');
  await turn();
  asked[0]?.answer(true);
  expect(await first).toBe(false);
  const second = reads.ask('a');
  await turn();
  asked[1]?.answer();
  expect(await second).toBe(true);
});

test('once it is closed nothing is read, and what is under way is waited for', async () => {
  const { reads, asked } = store();
  void reads.ask('a');
  await turn();
  const waiting = reads.ask('b');
  let isClosed = false;
  const closed = reads.close().then(() => {
    isClosed = true;
  });
  await turn();
  expect(isClosed).toBe(false);
  asked[0]?.answer();
  await closed;
  expect(await waiting).toBe(false);
  expect(await reads.ask('c')).toBe(false);
  expect(asked).toHaveLength(1);
});
