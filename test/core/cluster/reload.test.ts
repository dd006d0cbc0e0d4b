import { describe, expect, test } from 'vitest';
import { settle } from '../../support/clock.ts';
import { type Replica, Replicas } from '../../support/replicas.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

describe('an app that is taken out and put back at a replica', () => {
  test('before its last refresh has ended is refreshed as before', async () => {
    const replicas = await Replicas.started(2);
    const owner = replicas.owner();
    owner.line.hold = 'before';
    const refusal = owner.broker.forceRefresh('wxc', undefined).catch((error: unknown) => error);
    await replicas.until(() => owner.line.waiting > 0, SECOND);
    owner.broker.configure([]);
    owner.broker.configure(replicas.apps);
    await settle();
    owner.line.release();
    expect(await refusal).toMatchObject({ reason: 'APP_NOT_FOUND' });
    const { generation } = replicas.state(owner);
    for (let i = 0; i < 3 * 60; i++) {
      await replicas.clock.advance(MINUTE);
      expect(replicas.agreed()).toBe(true);
    }
    expect(replicas.state(owner).generation).toBeGreaterThan(generation);
  });

  test('is not in its status meanwhile', async () => {
    const replicas = await Replicas.started(2);
    const [first] = replicas.all as [Replica];
    const names = () => first.cluster?.status()?.apps.map(({ appId }) => appId);
    first.broker.configure([]);
    await replicas.clock.advance(SECOND);
    expect(names()).toEqual([]);
    first.broker.configure(replicas.apps);
    await replicas.clock.advance(SECOND);
    expect(names()).toEqual(['wxc']);
    await replicas.clock.advance(2 * HOUR);
    expect(replicas.agreed()).toBe(true);
  });
});
