import { describe, expect, it } from 'vitest';
import type { FaultEffect } from '../../../src/sandbox/faults.ts';
import { MINUTE, SECOND, World } from '../../support/world.ts';

/** No probes, so that every probe counted is a report's. */
const quiet = { probeIntervalMs: 0 };
const apps = { wxs: 'stable' } as const;

const byToken = (token: string) => ({ kind: 'token', token }) as const;

/** A stable app whose token died, while WeChat answers reads with it. */
async function stuck(options: { forceDailyBudget?: number } = {}): Promise<World> {
  const world = await World.started({ apps, settings: { ...quiet, ...options } });
  world.wechat.kill('wxs', { issuer: 'stable', which: 'all', stuck: true });
  return world;
}

/** Someone else has a new token forced: from now on a read brings it. */
function mendOutside(world: World): void {
  world.wechat.mintOutside('wxs', 'stable');
}

function body(fields: object): FaultEffect {
  return { kind: 'body', text: JSON.stringify(fields), takesEffect: false };
}

/** Reports the current token, or has an operator refresh it. */
async function ask(world: World, by: 'caller' | 'operator' = 'caller') {
  const result = world.broker.forceRefresh('wxs', by === 'caller' ? byToken(world.token('wxs')) : undefined);
  result.catch(() => undefined); // whoever asked looks later
  await world.clock.advance(0);
  return result;
}

describe('P17: a stable token that WeChat refuses, while a forced refresh does not help', () => {
  it.each([
    ["WeChat's quota of forced calls is spent", {}, 'DAILY_QUOTA_EXHAUSTED'],
    ['our own budget of them is', { forceDailyBudget: 0 }, 'BUDGET_EXHAUSTED'],
  ])('is read at every stable_poll: %s', async (_, settings, reason) => {
    const world = await stuck(settings);
    world.break({ kind: 'errcode', errcode: 45009 }, { calls: ['stable_force'] });
    await expect(ask(world)).rejects.toMatchObject({ reason, retryAfterMs: 15 * SECOND });
    const reads = world.counts('wxs').stable;
    await world.clock.advance(5 * MINUTE);
    expect(world.counts('wxs').stable - reads).toBe(20);
    mendOutside(world);
    await world.clock.advance(15 * SECOND);
    expect(world.good('wxs')).toBe(true);
    expect(world.state('wxs').status).toBe('FRESH');
  });

  it.each([
    ['is answered with the dead token', (dead) => body({ access_token: dead, expires_in: 7000 })],
    ['meets a busy WeChat', () => ({ kind: 'errcode', errcode: -1 })],
    ['is not let in', () => ({ kind: 'errcode', errcode: 40164 })],
    ['hangs', () => ({ kind: 'hang', takesEffect: false })],
  ] satisfies [string, (dead: string) => FaultEffect][])(
    'is read at every stable_poll, where the forced call %s',
    async (_, effect) => {
      const world = await stuck();
      world.break(effect(world.token('wxs')), { calls: ['stable_force'] });
      ask(world).catch(() => undefined);
      await world.clock.advance(MINUTE);
      const reads = world.counts('wxs').stable;
      await world.clock.advance(5 * MINUTE);
      const { stable, stable_force } = world.counts('wxs');
      expect(stable - reads).toBeGreaterThanOrEqual(14);
      expect(stable - reads).toBeLessThanOrEqual(31);
      expect(stable_force).toBeLessThanOrEqual(13);
      mendOutside(world);
      await world.clock.advance(20 * SECOND);
      expect(world.good('wxs')).toBe(true);
    },
  );

  it('is read once for each report and each refresh of an operator, and all of them get what the read brings', async () => {
    for (const by of ['caller', 'operator'] as const) {
      for (const settings of [{}, { forceDailyBudget: 0 }]) {
        const world = await stuck(settings);
        world.break({ kind: 'errcode', errcode: 45009 }, { calls: ['stable_force'] });
        await expect(ask(world)).rejects.toThrow();
        for (let i = 0; i < 3; i++) {
          const reads = world.counts('wxs').stable;
          await expect(ask(world, by)).rejects.toThrow();
          expect(world.counts('wxs').stable - reads).toBe(1);
        }
        mendOutside(world);
        expect((await ask(world, by)).outcome).toBe('REFRESHED');
        expect(world.good('wxs')).toBe(true);
      }
    }
  });

  it("asks for another forced refresh only when WeChat's refusal is a quarter of an hour old, or an operator does", async () => {
    const world = await stuck();
    world.break({ kind: 'errcode', errcode: 45009 }, { calls: ['stable_force'] });
    await expect(ask(world)).rejects.toThrow();
    await world.clock.advance(11 * MINUTE);
    for (let i = 0; i < 5; i++) await expect(ask(world)).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect(world.counts('wxs').stable_force).toBe(1);
    world.mend(); // an operator clears the quota
    await world.clock.advance(4 * MINUTE + 15 * SECOND);
    expect(world.counts('wxs').stable_force).toBe(2);
    expect(world.good('wxs')).toBe(true);

    const other = await stuck();
    other.break({ kind: 'errcode', errcode: 45009 }, { calls: ['stable_force'], count: 1 });
    await expect(ask(other)).rejects.toThrow();
    await other.clock.advance(31 * SECOND);
    expect(other.good('wxs')).toBe(false);
    expect((await ask(other, 'operator')).outcome).toBe('REFRESHED');
    expect(other.good('wxs')).toBe(true);
  });

  it('does not have an administrator asked again by reports', async () => {
    const world = await stuck();
    world.break({ kind: 'errcode', errcode: 89503 }, { calls: ['stable'] });
    await expect(ask(world)).rejects.toMatchObject({ reason: 'CONFIRMATION_REQUIRED' });
    const reads = world.counts('wxs').stable;
    for (let i = 0; i < 5; i++) await expect(ask(world)).rejects.toMatchObject({ reason: 'CONFIRMATION_REQUIRED' });
    await world.clock.advance(5 * MINUTE);
    expect(world.counts('wxs').stable).toBe(reads);
  });

  it('is read a few times at once and then every 2 s, however often it is reported', async () => {
    const world = await stuck({ forceDailyBudget: 0 });
    await expect(ask(world)).rejects.toThrow();
    const reads = world.counts('wxs').stable;
    for (let i = 0; i < 600; i++) {
      world.broker.forceRefresh('wxs', byToken(world.token('wxs'))).catch(() => undefined);
      world.broker.forceRefresh('wxs', undefined).catch(() => undefined);
      await world.clock.advance(100);
    }
    expect(world.counts('wxs').stable - reads).toBeLessThanOrEqual(40);
    expect(world.counts('wxs').stable - reads).toBeGreaterThanOrEqual(30);
  });
});
