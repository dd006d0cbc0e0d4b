import { describe, expect, test } from 'vitest';
import { type Replica, Replicas } from '../../support/replicas.ts';
import { MINUTE, SECOND } from '../../support/world.ts';

const quiet = { probeIntervalMs: 0 };
const apps = { wxc: 'stable' } as const;

function report(replicas: Replicas, replica: Replica) {
  const token = replicas.state(replica).current?.value ?? '';
  const result = replica.broker.forceRefresh('wxc', { kind: 'token', token });
  result.catch(() => undefined); // whoever asked looks later
  return result;
}

describe('P17 among replicas', () => {
  test('a stable token that WeChat refuses is read at every stable_poll by one of them, whatever became of the forced call', async () => {
    const replicas = await Replicas.started(3, { apps, settings: quiet });
    replicas.wechat.kill('wxc', { issuer: 'stable', which: 'all', stuck: true });
    replicas.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: ['stable_force'] });
    const refused = report(replicas, replicas.others()[0] as Replica);
    await replicas.clock.advance(2 * MINUTE);
    await expect(refused).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    const { stable } = replicas.wechat.counts('wxc');
    await replicas.clock.advance(5 * MINUTE);
    const counts = replicas.wechat.counts('wxc');
    expect(counts.stable - stable).toBeGreaterThanOrEqual(17);
    expect(counts.stable - stable).toBeLessThanOrEqual(23);
    expect(counts.stable_force).toBeLessThanOrEqual(3);
    replicas.wechat.mintOutside('wxc', 'stable');
    await replicas.clock.advance(20 * SECOND);
    expect(replicas.agreed()).toBe(true);
  });

  test.each(['classic', 'stable'] as const)(
    'where a probe gets no verdict, a replica whose turn it is not acts on what was reported to it: %s',
    async (issuer) => {
      const replicas = await Replicas.started(3, { apps: { wxc: issuer }, settings: quiet });
      replicas.wechat.faults.inject({ effect: { kind: 'html', status: 404, takesEffect: false }, calls: ['probe'] });
      replicas.wechat.kill('wxc', { issuer, which: 'all' });
      report(replicas, replicas.others()[0] as Replica).catch(() => undefined);
      await replicas.clock.advance(35 * SECOND);
      expect(replicas.agreed()).toBe(true);
      expect(replicas.mints()).toBe(2);
      for (const replica of replicas.all) expect(replicas.state(replica)).toMatchObject({ status: 'FRESH' });
    },
  );

  test('a reload at one replica tries at once what waits for a quota, though it is the turn of another', async () => {
    const replicas = await Replicas.started(3, { settings: quiet });
    replicas.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: ['classic'] });
    await replicas.clock.advance(70 * MINUTE);
    expect(replicas.state(replicas.owner()).status).toBe('DEGRADED');
    replicas.wechat.faults.clear();
    const [other] = replicas.others();
    other?.broker.configure(replicas.apps);
    await replicas.clock.advance(3 * SECOND);
    expect(replicas.all.map((replica) => replicas.state(replica).status)).toEqual(['FRESH', 'FRESH', 'FRESH']);
    expect(replicas.agreed()).toBe(true);
    expect(replicas.mints()).toBe(2);
  });

  test.each(['classic', 'stable'] as const)(
    'each replica tries a changed secret, and none mints for it: %s',
    async (issuer) => {
      const replicas = await Replicas.started(3, { apps: { wxc: issuer }, settings: quiet });
      const changed = replicas.apps.map((app) => ({ ...app, secret: 'another' }));
      replicas.wechat.setApp({ appId: 'wxc', secret: 'another' });
      for (const { broker } of replicas.all) broker.configure(changed);
      await replicas.clock.advance(SECOND);
      for (const { events } of replicas.all) {
        expect(events.filter(({ type }) => type === 'secret_tried')).toMatchObject([{ result: 'accepted' }]);
      }
      expect(replicas.wechat.counts('wxc').classic).toBe(issuer === 'classic' ? 1 : 0);
    },
  );
});
