import { describe, expect, test } from 'vitest';
import { Delays, type Waiting } from '../../src/core/delays.ts';
import { FakeClock } from '../support/clock.ts';

const DELAY_MS = 10_000;

class Item implements Waiting {
  batch: object | undefined;
}

function setUp() {
  const clock = new FakeClock();
  const due: Item[] = [];
  const delays = new Delays<Item>(clock, DELAY_MS, (item) => due.push(item));
  return { clock, delays, due };
}

describe('Delays', () => {
  test('tells of an item when its time has passed, and once', async () => {
    const { clock, delays, due } = setUp();
    const item = new Item();
    delays.start(item);
    await clock.advance(DELAY_MS - 1);
    expect(due).toEqual([]);
    await clock.advance(1);
    expect(due).toEqual([item]);
    await clock.advance(3 * DELAY_MS);
    expect(due).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  test('lets an item begin anew', async () => {
    const { clock, delays, due } = setUp();
    const item = new Item();
    delays.start(item);
    await clock.advance(DELAY_MS / 2);
    delays.start(item);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([]);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([item]);
  });

  test('has one timer for all that begin together, at most 1 % early', async () => {
    const { clock, delays, due } = setUp();
    const first = new Item();
    const second = new Item();
    const third = new Item();
    delays.start(first);
    await clock.advance(DELAY_MS / 100);
    delays.start(second);
    expect(clock.pending).toBe(1);
    await clock.advance(1);
    delays.start(third);
    expect(clock.pending).toBe(2);
    await clock.advance(DELAY_MS - DELAY_MS / 100 - 1);
    expect(due).toEqual([first, second]);
    await clock.advance(DELAY_MS / 100 + 1);
    expect(due).toEqual([first, second, third]);
  });

  test('says nothing of an item that stopped, even if it began again since', async () => {
    const { clock, delays, due } = setUp();
    const item = new Item();
    const other = new Item();
    delays.start(other);
    delays.start(item);
    delays.stop(item);
    delays.start(item);
    await clock.advance(DELAY_MS / 2);
    delays.stop(item);
    delays.start(item);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([other]);
    await clock.advance(DELAY_MS / 2);
    expect(due).toEqual([other, item]);
  });

  test('leaves no timer when nothing waits', async () => {
    const { clock, delays } = setUp();
    const items = [new Item(), new Item()];
    for (const item of items) {
      delays.start(item);
      await clock.advance(DELAY_MS / 4);
    }
    expect(clock.pending).toBe(2);
    for (const item of items) delays.stop(item);
    expect(clock.pending).toBe(0);
  });
});
