import { describe, expect, test } from 'vitest';
import { Replicas } from '../../support/replicas.ts';
import { MINUTE, SECOND } from '../../support/world.ts';

const reasons = (replicas: Replicas) => replicas.running.map((replica) => replicas.state(replica).statusReason);

describe('the warning of a mint from outside', () => {
  test('belongs to all replicas, and stays until the next scheduled rotation without one', async () => {
    const replicas = await Replicas.started(3);
    replicas.wechat.mintOutside('wxc', 'classic');
    await replicas.until(
      () => replicas.all.some(({ events }) => events.some(({ type }) => type === 'outside_mint')),
      10 * MINUTE,
    );
    await replicas.clock.advance(5 * SECOND);
    expect(replicas.agreed()).toBe(true);
    for (let i = 0; i < 48; i++) {
      await replicas.clock.advance(MINUTE);
      for (const reason of reasons(replicas)) expect(reason).toContain('another program');
    }
    const late = await replicas.add();
    expect(replicas.state(late).statusReason).toContain('another program');
    await replicas.clock.advance(30 * MINUTE);
    expect(reasons(replicas)).toEqual(['', '', '', '']);
    expect(replicas.agreed()).toBe(true);
  });

  test('outlives what an operator has minted', async () => {
    const replicas = await Replicas.started(2);
    replicas.wechat.mintOutside('wxc', 'classic');
    await replicas.until(() => !replicas.agreed(), 10 * MINUTE);
    await replicas.until(() => replicas.agreed(), 3 * MINUTE);
    await replicas.clock.advance(MINUTE);
    const refreshed = replicas.others()[0]?.broker.forceRefresh('wxc', undefined);
    await replicas.clock.advance(5 * SECOND);
    expect((await refreshed)?.outcome).toBe('REFRESHED');
    for (const reason of reasons(replicas)) expect(reason).toContain('another program');
  });

  test('outlives the rotation on the schedule of the very token that was found dead', async () => {
    const replicas = await Replicas.started(2);
    replicas.wechat.mintOutside('wxc', 'classic');
    replicas.wechat.faults.inject({ effect: { kind: 'errcode', errcode: -1 }, calls: ['classic'] });
    await replicas.clock.advance(70 * MINUTE);
    expect(replicas.agreed()).toBe(false);
    replicas.wechat.faults.clear();
    await replicas.until(() => replicas.agreed(), MINUTE);
    const rotated = replicas.all.flatMap(({ events }) => events.filter((event) => event.type === 'rotated'));
    expect(rotated.at(-1)?.cause).toBe('scheduled');
    for (const reason of reasons(replicas)) expect(reason).toContain('another program');
    await replicas.clock.advance(70 * MINUTE);
    expect(reasons(replicas)).toEqual(['', '']);
  });
});
