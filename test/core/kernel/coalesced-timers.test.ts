import { describe, expect, test } from 'vitest';
import { CoalescedTimers, type Waiting } from '../../../src/core/kernel/coalesced-timers.ts';
import { FakeClock } from '../../support/clock.ts';

const DELAY_MS = 10_000;

class Item implements Waiting {
  batch: Waiting['batch'];
  before: Waiting['before'];
  after: Waiting['after'];
}

function setUp() {
  const clock = new FakeClock();
  const due: Item[] = [];
  const timers = new CoalescedTimers<Item>(clock, DELAY_MS, (item) => due.push(item));
  return { clock, timers, due };
}

describe('Delays', () => {
  test('tells of an item when its time has passed, and once', async () => {
    const { clock, timers, due } = setUp();
    const item = new Item();
    timers.start(item);
    await clock.advance(DELAY_MS - 1);
    expect(due).toEqual([]);
    await clock.advance(1);
    expect(due).toEqual([item]);
    await clock.advance(3 * DELAY_MS);
    expect(due).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  test('lets an item begin anew', async () => {
    const { clock, timers, due } = setUp();
    const item = new Item();
    timers.start(item);
    await clock.advance(DELAY_MS / 2);
    timers.start(item);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([]);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([item]);
  });

  test('has one timer for all that begin together, at most 1 % early', async () => {
    const { clock, timers, due } = setUp();
    const first = new Item();
    const second = new Item();
    const third = new Item();
    timers.start(first);
    await clock.advance(DELAY_MS / 100);
    timers.start(second);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    timers.start(third);
    expect(clock.pending).toBe(2);
    await clock.advance(DELAY_MS - DELAY_MS / 100 - 1);
    expect(due).toEqual([first, second]);
    await clock.advance(DELAY_MS / 100 + 1);
    expect(due).toEqual([first, second, third]);
  });

  test('says nothing of an item that stopped, even if it began again since', async () => {
    const { clock, timers, due } = setUp();
    const item = new Item();
    const other = new Item();
    timers.start(other);
    timers.start(item);
    timers.stop(item);
    timers.start(item);
    await clock.advance(DELAY_MS / 2);
    timers.stop(item);
    timers.start(item);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([other]);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([other, item]);
  });

  test.each([0, 1, 2])('keeps the others in order when number %i of three stops', async (which) => {
    const { clock, timers, due } = setUp();
    const items = [new Item(), new Item(), new Item()];
    for (const item of items) timers.start(item);
    const [stopped] = items.splice(which, 1) as [Item];
    timers.stop(stopped);
    const last = new Item();
    timers.start(last);
    await clock.advance(DELAY_MS);
    expect(due).toEqual([...items, last]);
    expect(stopped).toEqual(new Item());
  });

  test('leaves no timer when nothing waits', async () => {
    const { clock, timers } = setUp();
    const items = [new Item(), new Item()];
    for (const item of items) {
      timers.start(item);
      await clock.advance(DELAY_MS / 4);
    }
    expect(clock.pending).toBe(2);
    for (const item of items) timers.stop(item);
    expect(clock.pending).toBe(0);
  });
});
