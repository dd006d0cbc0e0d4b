import { describe, expect, it } from 'vitest';
import { RECORD_SEALED } from '../../../src/core/kernel/errors.ts';
import { POLL, Replicas } from '../../support/replicas.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** Two replicas that hold `plain` only; then another seals the record by a key that neither has. */
async function sealedAway(issuer: 'classic' | 'stable' = 'classic') {
  const replicas = await Replicas.started(2, { apps: { wxc: issuer } });
  const before = replicas.state(replicas.get('r1'));
  replicas.store.reseal('wxc', 'k1');
  const sealed = replicas.store.records.get('wxc');
  await replicas.clock.advance(POLL);
  return { replicas, before, sealed, replica: replicas.get('r1') };
}

describe('a record that another replica has sealed by a key which is not held here (P18)', () => {
  it('is not written over: the token in memory is served, and the status says why', async () => {
    const { replicas, before, sealed, replica } = await sealedAway();
    expect(replicas.state(replica)).toMatchObject({
      generation: before.generation,
      current: { value: before.current?.value },
      status: 'DEGRADED',
      statusReason: RECORD_SEALED,
    });
    // Refreshes come due meanwhile, and at last the token expires.
    await replicas.clock.advance(3 * HOUR);
    expect(replicas.state(replica)).toMatchObject({ status: 'EXPIRED', current: null });
    expect(replicas.store.records.get('wxc')).toEqual(sealed);
    expect(replicas.mints()).toBe(1);
  });

  it('refuses a mint, whoever asks for it, with what to do', async () => {
    const { replicas, sealed, replica } = await sealedAway();
    await expect(replica.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({
      reason: 'STORE_UNAVAILABLE',
      message: RECORD_SEALED,
    });
    expect(replicas.store.records.get('wxc')).toEqual(sealed);
    expect(replicas.mints()).toBe(1);
  });

  it('of a stable app is not written over either: WeChat is read, and what it says is served from memory', async () => {
    const { replicas, sealed, replica } = await sealedAway('stable');
    await replicas.clock.advance(3 * HOUR);
    const { current, statusReason } = replicas.state(replica);
    expect(replicas.wechat.honours('wxc', current?.value ?? '')).toBe(true);
    expect(statusReason).toBe(RECORD_SEALED);
    expect(replicas.store.records.get('wxc')).toEqual(sealed);
  });

  it('is told of once, and not at each poll', async () => {
    const { replicas, replica } = await sealedAway();
    const told = () => replica.events.filter(({ type }) => type === 'store_failed').length;
    const before = told();
    expect(before).toBe(1);
    await replicas.clock.advance(5 * MINUTE);
    expect(told()).toBe(before);
  });

  it('is used again once it is sealed by a key that is held', async () => {
    const { replicas, replica } = await sealedAway();
    replicas.store.reseal('wxc', 'plain');
    await replicas.clock.advance(POLL);
    expect(replicas.state(replica)).toMatchObject({ status: 'FRESH', statusReason: '' });
    await replicas.clock.advance(2 * HOUR);
    expect(replicas.agreed()).toBe(true);
    expect(replicas.mints()).toBeGreaterThan(1);
  });

  it('is put back from memory where the store comes back without it', async () => {
    const { replicas, before, replica } = await sealedAway();
    replicas.store.restart();
    await replicas.clock.advance(POLL);
    expect(replicas.state(replica)).toMatchObject({ status: 'FRESH', generation: before.generation });
    expect(replicas.store.records.get('wxc')?.app.current?.value).toBe(before.current?.value);
    expect(replicas.mints()).toBe(1);
  });

  it('is left alone where this replica was about to mint', async () => {
    const replicas = await Replicas.started(1);
    const replica = replicas.get('r1');
    replica.connection.way = { state: 'open', hints: false };
    replicas.store.reseal('wxc', 'k1');
    const sealed = replicas.store.records.get('wxc');
    await expect(replica.broker.forceRefresh('wxc', undefined)).rejects.toMatchObject({ message: RECORD_SEALED });
    expect(replicas.store.records.get('wxc')).toEqual(sealed);
    expect(replicas.mints()).toBe(1);
  });

  it('of an app that is configured later has no token here, and none is minted', async () => {
    const replicas = await Replicas.started(1, { apps: { wxa: 'classic', wxc: 'classic' } });
    const other = await replicas.add({ apps: replicas.apps.filter(({ appId }) => appId === 'wxa') });
    const mints = replicas.mints();
    await replicas.kill(replicas.get('r1'));
    replicas.store.reseal('wxc', 'k1');
    const sealed = replicas.store.records.get('wxc');
    await replicas.clock.advance(POLL);
    other.broker.configure(replicas.apps);
    await replicas.clock.advance(MINUTE);
    expect(replicas.state(other).statusReason).toBe(RECORD_SEALED);
    expect(replicas.store.records.get('wxc')).toEqual(sealed);
    expect(replicas.mints()).toBe(mints);
  });
});

it('a replica does not start on a store with a record that it cannot open, and changes nothing (P18)', async () => {
  const replicas = await Replicas.started(1);
  replicas.store.reseal('wxc', 'k1');
  const sealed = replicas.store.records.get('wxc');
  await expect(replicas.add({ keys: ['k2', 'plain'] })).rejects.toThrow('wxc is sealed by k1');
  await replicas.clock.advance(MINUTE);
  expect(replicas.store.records.get('wxc')).toEqual(sealed);
  expect(replicas.mints()).toBe(1);
});

describe('a rotation of keys, replica by replica', () => {
  // Each step on every replica before the next one: the new key opens everywhere before it seals anywhere.
  const STEPS = [['plain'], ['plain', 'k1'], ['k1', 'plain'], ['k1'], ['k1', 'k2'], ['k2', 'k1'], ['k2']];

  it('goes on without a mint, and all agree, also while replicas of two steps live together', async () => {
    const replicas = new Replicas({ apps: { wxc: 'classic', wxs: 'stable' } });
    let old = [await replicas.add({ keys: ['plain'] }), await replicas.add({ keys: ['plain'] })];
    await replicas.clock.advance(MINUTE);
    for (const keys of STEPS.slice(1)) {
      const next = [];
      for (const before of old) {
        next.push(await replicas.add({ keys }));
        // What the background task of a replica does where the step before it is complete.
        if (keys.length > 1) for (const appId of ['wxc', 'wxs']) replicas.store.reseal(appId, keys[0] as string);
        await replicas.clock.advance(20 * SECOND);
        const { current } = replicas.state(before);
        expect(replicas.state(before)).toMatchObject({ status: 'FRESH', statusReason: '' });
        for (const replica of replicas.running) expect(replicas.state(replica).current).toEqual(current);
        await replicas.kill(before);
      }
      old = next;
    }
    expect([replicas.mints('wxc'), replicas.mints('wxs')]).toEqual([1, 1]);
    await replicas.clock.advance(2 * HOUR);
    expect([replicas.agreed('wxc'), replicas.agreed('wxs')]).toEqual([true, true]);
    expect(new Set(replicas.store.sealedBy.values())).toEqual(new Set(['k2']));
  });
});
