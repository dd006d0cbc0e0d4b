import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { settle } from '../../support/clock.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';
import type { Callers } from './callers.ts';
import type { Stage } from './stage.ts';

/** A retry may be 20 s away, and may take some time. */
const RECOVERY_MS = 25 * SECOND;
/** A token that died unseen is found by a probe or by a caller, and may have to wait for the cooldown. */
const DISCOVERY_MS = 3 * MINUTE;
/** Where probes alone failed for a while, a token that is reported is asked about once a minute. */
const VERDICT_MS = MINUTE;

/** Everything works again: all apps must become well, within the pause that WeChat's last word asks for. */
export async function heal(stage: Stage): Promise<void> {
  const { world, truth, findings, disk, pauses, upstream } = stage;
  world.mend();
  upstream.lagging = undefined;
  disk.mode = 'works';
  for (const appId of stage.appIds) {
    if (!world.apps.some((app) => app.appId === appId)) stage.toggle(appId);
    stage.secret(appId, 'right');
  }
  stage.sweep();
  await settle();
  const begun = world.clock.monotonic();
  const found = new Map<string, number>();
  for (;;) {
    const now = world.clock.monotonic();
    const ill = stage.appIds.filter((appId) => !isWell(stage, appId));
    if (ill.length === 0) return;
    for (const appId of ill) {
      const value = stage.state(appId)?.current?.value;
      if (value === undefined || truth.honoured(appId, value)) continue;
      if (!found.has(value)) found.set(value, now + DISCOVERY_MS);
      // Where there are no probes, a service must say that it was refused.
      if (world.settings.probeIntervalMs > 0) continue;
      world.broker.forceRefresh(appId, { kind: 'token', token: value }).catch(() => undefined);
    }
    const isUnsaid = ill.some((appId) => stage.state(appId)?.statusReason.includes('did not say'));
    const latest = Math.max(begun + (isUnsaid ? VERDICT_MS : 0), ...found.values(), pauses.latest) + RECOVERY_MS;
    if (now > latest || now > begun + 72 * HOUR) {
      const describe = (appId: string) => `${appId} ${stage.state(appId)?.status} ${stage.state(appId)?.statusReason}`;
      return findings.broken('all is well once everything works', ill.map(describe).join(', '));
    }
    await world.clock.advance(now - begun < MINUTE ? SECOND : 20 * SECOND);
    findings.verify('everything worked again');
  }
}

function isWell({ world, truth, disk }: Stage, appId: string): boolean {
  const record = disk.record(appId);
  for (const { appId: id, status, generation, current } of world.broker.states()) {
    if (id !== appId) continue;
    const stored = record?.generation === generation && record.current?.value === current?.value;
    return status === 'FRESH' && current !== null && truth.honoured(appId, current.value) && stored;
  }
  return false;
}

/** Ends the broker, after a drain or without: nothing may be left of it. */
export async function end(stage: Stage, callers: Callers, how: 'drain' | 'stop'): Promise<void> {
  const { world, findings, clients, upstream, disk } = stage;
  stage.stopSweeping();
  // From here on nobody keeps states up to date.
  world.clock.onStep = undefined;
  if (how === 'drain') {
    const readers = clients.filter((client) => client.open && client.pace === 'fast');
    const flying = stage.appIds.flatMap((appId) => upstream.of(appId).active);
    const drained = outcomeOf(world.broker.drain(5 * SECOND));
    await world.clock.advance(30 * SECOND);
    findings.law('a drain ends', drained.done, () => 'not within 30 s');
    const aborted = flying.some(({ signal }) => signal.reason instanceof LingpaiError);
    findings.law('a drain ends no call', !aborted, () => 'what WeChat minted is lost');
    for (const { open, goodbyes } of readers) {
      findings.law('a drain says one goodbye to every watch', !open && goodbyes === 1, () => `${goodbyes}`);
    }
  }
  const stopped = outcomeOf(world.broker.stop());
  await settle();
  if (!stopped.done) await world.clock.advance(10 * SECOND); // a slow store
  findings.law('a stop ends', stopped.done, () => 'not within 10 s');
  callers.end();
  findings.law('after stop no timer is left', world.clock.pending === 0, () => `${world.clock.pending}`);
  findings.law('after stop no watch is left', world.broker.watchers === 0, () => `${world.broker.watchers}`);
  const traces = () => JSON.stringify([[...world.broker.states()], upstream.total, disk.saves]);
  const before = traces();
  await world.clock.advance(HOUR);
  findings.law('after stop nothing happens', before === traces(), () => 'a state, a call or a write');
  callers.late();
}

function outcomeOf(promise: Promise<void>): { readonly done: boolean } {
  const outcome = { done: false };
  void promise.then(() => {
    outcome.done = true;
  });
  return outcome;
}
