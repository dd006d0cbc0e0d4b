import { describe, expect, it } from 'vitest';
import type { Witness } from '../../../src/core/tokens/suspicion.ts';
import type { FaultEffect } from '../../../src/sandbox/faults.ts';
import { HOUR, MINUTE, SECOND, World } from '../../support/world.ts';

const byToken = (token: string) => ({ kind: 'token', token }) as const;

/** What a company's gateway, and WeChat itself, answer to a probe in place of a verdict. */
const NO_VERDICT: readonly [string, FaultEffect][] = [
  ['a gateway answers 404', { kind: 'html', status: 404, takesEffect: false }],
  ['the connection is reset', { kind: 'reset', takesEffect: false }],
  ['45009', { kind: 'errcode', errcode: 45009 }],
  ['40164', { kind: 'errcode', errcode: 40164 }],
  ['61004', { kind: 'errcode', errcode: 61004 }],
  ['-1', { kind: 'errcode', errcode: -1 }],
];

async function world(issuer: 'classic' | 'stable', effect: FaultEffect, probeIntervalMs = 0): Promise<World> {
  const world = await World.started({ apps: { wx: issuer }, settings: { probeIntervalMs } });
  world.break(effect, { calls: ['probe'] });
  return world;
}

async function report(world: World, witness: Witness = 'caller', reporter?: string) {
  const result = world.broker.forceRefresh('wx', { ...byToken(world.token('wx')), witness, reporter });
  result.catch(() => undefined); // whoever asked looks later
  await world.clock.advance(0);
  return result;
}

describe.each(NO_VERDICT)('P17: a dead token, where a probe gets no verdict (%s)', (_, effect) => {
  it('classic: is replaced once the report of one caller has stood for the cooldown, without anybody asking again', async () => {
    const at = await world('classic', effect);
    at.wechat.kill('wx', { issuer: 'classic', which: 'all' });
    const error = await report(at).catch((error: unknown) => error);
    expect(error).toMatchObject({ retryAfterMs: 15 * SECOND });
    expect(at.state('wx')).toMatchObject({ status: 'DEGRADED', statusReason: expect.stringContaining('did not say') });
    await at.clock.advance(29 * SECOND);
    expect(at.counts('wx').classic).toBe(1);
    await at.clock.advance(SECOND);
    expect(at.good('wx')).toBe(true);
    expect(at.state('wx').status).toBe('FRESH');
    expect(at.counts('wx').classic).toBe(2);
    expect(at.seen('outside_mint')).toEqual([]);
  });

  it('classic: is replaced at once when two calls report it', async () => {
    const at = await world('classic', effect);
    at.wechat.kill('wx', { issuer: 'classic', which: 'all' });
    const outcomes = await Promise.all([report(at), report(at)]);
    expect(outcomes.map(({ outcome }) => outcome)).toContain('REFRESHED');
    expect(at.good('wx')).toBe(true);
    expect(at.counts('wx').classic).toBe(2);
  });

  it('classic: a caller that has a name counts once, however often it reports', async () => {
    const at = await world('classic', effect);
    at.wechat.kill('wx', { issuer: 'classic', which: 'all' });
    for (let i = 0; i < 3; i++) {
      await expect(report(at, 'caller', 'key:a')).rejects.toMatchObject({ retryAfterMs: expect.any(Number) });
      expect(at.counts('wx').classic).toBe(1);
    }
    expect((await report(at, 'caller', 'key:b')).outcome).toBe('REFRESHED');
    expect([at.good('wx'), at.counts('wx').classic]).toEqual([true, 2]);
  });

  it('classic: is not replaced where nobody reports it, however often it is asked about', async () => {
    const at = await world('classic', effect);
    for (let i = 0; i < 3; i++) {
      await expect(report(at, 'nobody', `key:${i}`)).rejects.toMatchObject({ retryAfterMs: expect.any(Number) });
      await at.clock.advance(20 * SECOND);
    }
    expect([at.state('wx').status, at.counts('wx').classic]).toEqual(['FRESH', 1]);
    at.wechat.kill('wx', { issuer: 'classic', which: 'all' });
    expect((await report(at, 'broker')).outcome).toBe('REFRESHED');
    expect(at.good('wx')).toBe(true);
  });

  it("is replaced at once on the broker's own 40001; a stable one is read first, and forced where that does not help", async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const at = await world(issuer, effect);
      at.wechat.kill('wx', { issuer, which: 'all', stuck: issuer === 'stable' });
      expect((await report(at, 'broker')).outcome).toBe('REFRESHED');
      expect(at.good('wx')).toBe(true);
      expect(at.counts('wx')).toMatchObject(issuer === 'classic' ? { classic: 2 } : { stable_force: 1 });
    }
  });

  it('stable: is read for each report and at every stable_poll, and never forced on the word of callers', async () => {
    const at = await world('stable', effect);
    at.wechat.kill('wx', { issuer: 'stable', which: 'all', stuck: true });
    for (let i = 0; i < 3; i++) {
      const reads = at.counts('wx').stable;
      await expect(report(at)).rejects.toMatchObject({ retryAfterMs: expect.any(Number) });
      expect(at.counts('wx').stable - reads).toBe(1);
    }
    expect(at.state('wx')).toMatchObject({ status: 'DEGRADED', statusReason: expect.stringContaining('did not say') });
    const reads = at.counts('wx').stable;
    await at.clock.advance(5 * MINUTE);
    expect(at.counts('wx').stable - reads).toBeGreaterThanOrEqual(20);
    expect(at.counts('wx').stable_force).toBe(0);
    at.wechat.mintOutside('wx', 'stable');
    await at.clock.advance(15 * SECOND);
    expect(at.good('wx')).toBe(true);
    expect(at.state('wx').status).toBe('FRESH');
  });
});

describe.each(NO_VERDICT)('a classic token whose life a leap of the clock may have ended (%s)', (_, effect) => {
  it('is replaced where no probe tells whether it lives', async () => {
    const at = await world('classic', effect);
    at.clock.sleep(2 * HOUR);
    at.broker.sweep();
    await at.clock.advance(10 * SECOND);
    expect(at.state('wx').status).toBe('FRESH');
    expect(at.good('wx')).toBe(true);
    expect(at.counts('wx').classic).toBe(2);
    expect(at.counts('wx').probe).toBeLessThanOrEqual(3);
  });
});

describe('a token that is reported, where a probe gets no verdict', () => {
  const gateway: FaultEffect = { kind: 'html', status: 404, takesEffect: false };

  it('is left alone once WeChat says that it accepts it, though probes are off', async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const at = await world(issuer, gateway);
      const before = at.token('wx');
      await expect(report(at)).rejects.toThrow();
      at.mend();
      await at.clock.advance(2 * MINUTE);
      expect(at.state('wx')).toMatchObject({ status: 'FRESH', statusReason: '', current: { value: before } });
      const { stable, probe } = at.counts('wx');
      await at.clock.advance(20 * MINUTE);
      expect(at.counts('wx')).toMatchObject({ stable, probe });
    }
  });

  it('is minted anew once within the cooldown, and within the budget, however often it is reported', async () => {
    const at = await World.started({ apps: { wx: 'classic' }, settings: { probeIntervalMs: 0, dailyBudget: 50 } });
    at.break(gateway, { calls: ['probe'] });
    for (let i = 0; i < 60; i++) {
      for (let n = 0; n < 20; n++) at.broker.forceRefresh('wx', byToken(at.token('wx'))).catch(() => undefined);
      await at.clock.advance(SECOND);
    }
    expect(at.counts('wx').classic).toBeLessThanOrEqual(4);
    for (let i = 0; i < 3600; i++) {
      at.broker.forceRefresh('wx', byToken(at.token('wx'))).catch(() => undefined);
      await at.clock.advance(SECOND);
    }
    expect(at.counts('wx').classic).toBeLessThanOrEqual(42);
    expect(at.counts('wx').probe).toBeLessThanOrEqual(1900);
  });

  it('costs no more calls in an outage than the outage itself', async () => {
    for (const issuer of ['classic', 'stable'] as const) {
      const at = await World.started({ apps: { wx: issuer } });
      at.break({ kind: 'refused' });
      await expect(report(at)).rejects.toThrow();
      await at.clock.advance(MINUTE);
      const calls = at.wechat.calls.length;
      await at.clock.advance(HOUR);
      expect(at.wechat.calls.length - calls).toBeLessThanOrEqual(240);
      at.mend();
      await at.clock.advance(MINUTE);
      expect(at.state('wx')).toMatchObject({ status: 'FRESH' });
      expect(at.good('wx')).toBe(true);
    }
  });
});

describe('probes without a verdict', () => {
  it.each(NO_VERDICT)(
    'are told after three in a row, once, with what to do (%s), until one gets through',
    async (_, effect) => {
      const at = await world('classic', effect, MINUTE);
      const before = at.state('wx');
      await at.clock.advance(2 * MINUTE - SECOND);
      expect(at.seen('probes_unanswered')).toEqual([]);
      expect(at.state('wx').statusReason).toBe('');
      await at.clock.advance(10 * MINUTE);
      const [told, ...more] = at.seen('probes_unanswered');
      expect([told?.appId, more]).toEqual(['wx', []]);
      expect(told?.error.message).not.toMatch(/other programs/);
      expect(at.state('wx')).toMatchObject({
        status: 'FRESH',
        statusReason: expect.stringContaining('get_api_domain_ip'),
        generation: before.generation,
      });
      expect(at.state('wx').statusReason).not.toMatch(/program/);
      at.mend();
      await at.clock.advance(MINUTE);
      expect(at.state('wx').statusReason).toBe('');
      at.break(effect, { calls: ['probe'] });
      await at.clock.advance(4 * MINUTE);
      expect(at.seen('probes_unanswered')).toHaveLength(2);
      expect(at.seen('outside_mint')).toEqual([]);
    },
  );
});
