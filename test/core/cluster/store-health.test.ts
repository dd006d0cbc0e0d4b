import { expect, test } from 'vitest';
import { StoreHealth } from '../../../src/core/cluster/store-health.ts';
import type { BrokerEvent } from '../../../src/core/tokens/events.ts';

function watched() {
  const events: BrokerEvent[] = [];
  const clock = { now: 100 };
  const health = new StoreHealth({ observe: (event) => events.push(event), monotonic: () => clock.now });
  return { health, events, clock };
}

test('each trouble of a store that is away is told once, until it is there again', () => {
  const { health, events } = watched();
  const [cut, refused] = [new Error('it is cut off'), new Error('it refuses the password')];
  health.answered(7);
  for (const error of [cut, cut, refused, cut, refused]) health.failed(error);
  expect(health).toMatchObject({ isAvailable: false, trouble: 'it refuses the password' });
  expect(events.splice(0)).toEqual([
    { type: 'store_away', error: cut, isNew: true },
    { type: 'store_away', error: refused, isNew: false },
  ]);
  health.answered(7);
  expect(health).toMatchObject({ isAvailable: true, trouble: '' });
  health.failed(cut);
  expect(events).toEqual([{ type: 'store_reached' }, { type: 'store_away', error: cut, isNew: true }]);
});

test('how long ago it answered goes on while it fails', () => {
  const { health, clock } = watched();
  health.answered(1);
  clock.now += 2_000;
  health.failed(new Error('away'));
  clock.now += 500;
  expect(health.ageMs).toBe(2_500);
  health.answered(1);
  expect(health.ageMs).toBe(0);
});

test('a store that has seen fewer changes than before has lost them, and is told of once', () => {
  const { health, events } = watched();
  for (const position of [0, 12, 40, 40, 5, 6, 41]) health.answered(position);
  expect(events).toEqual([{ type: 'store_went_back', changes: 35 }]);
});
