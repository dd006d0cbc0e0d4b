import { expect, test } from 'vitest';
import { type Replica, Replicas } from '../../support/replicas.ts';
import { MINUTE, SECOND } from '../../support/world.ts';

/** Two replicas of a stable app that never had a token: WeChat does not know it, and is asked again when a pause is over. */
async function withoutToken(): Promise<Replicas> {
  const replicas = new Replicas({ apps: { wxc: 'stable' }, settings: { probeIntervalMs: 0, cooldownMs: MINUTE } });
  replicas.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 40013 }, calls: ['stable'] });
  for (const _ of [1, 2]) await replicas.add();
  await replicas.clock.advance(10 * SECOND);
  return replicas;
}

/** An operator has the token replaced: what the answer is, and how many calls to WeChat that took. */
async function refreshed(replicas: Replicas, { broker }: Replica): Promise<{ reason: string; calls: number }> {
  const before = replicas.wechat.counts('wxc').stable;
  const answer = broker.forceRefresh('wxc', undefined).then(
    () => '',
    ({ reason }) => String(reason),
  );
  await replicas.clock.advance(10 * SECOND);
  return { reason: await answer, calls: replicas.wechat.counts('wxc').stable - before };
}

test("the cooldown of an operator's refresh holds at every replica, also where the refresh costs no mint", async () => {
  const replicas = await withoutToken();
  const [one, two] = replicas.all as [Replica, Replica];
  expect(await refreshed(replicas, one)).toEqual({ reason: 'APP_ID_INVALID', calls: 1 });
  expect(await refreshed(replicas, two)).toEqual({ reason: 'COOLDOWN', calls: 0 });
  expect(await refreshed(replicas, one)).toEqual({ reason: 'COOLDOWN', calls: 0 });
  await replicas.clock.advance(MINUTE - 30 * SECOND);
  expect(await refreshed(replicas, two)).toEqual({ reason: 'APP_ID_INVALID', calls: 1 });
  expect(await refreshed(replicas, one)).toEqual({ reason: 'COOLDOWN', calls: 0 });
});
