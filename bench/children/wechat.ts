/** A simulated WeChat, and stores that hold tokens of it. */
import { setTimeout } from 'node:timers/promises';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { openStore, recordsOf } from '../../src/store/open.ts';
import { type BenchApp, LIFETIME_MS } from '../setup.ts';
import { answer } from './report.ts';

let sandbox: Sandbox | undefined;
/** Set back while tokens are minted that are to be old. */
let ageMs = 0;
const clock = { ...systemClock, now: () => Date.now() - ageMs };

function running(): Sandbox {
  if (!sandbox) throw new Error('the simulated WeChat is not started');
  return sandbox;
}

const DEPS = { clock: systemClock, random: Math.random, onDamage: () => undefined };

/** How old the tokens of a store are: all the same, or evenly spread over the time that the broker keeps them. */
export type Ages = 'one' | 'spread';

function ageOf(app: BenchApp, share: number, ages: Ages): number {
  if (ages === 'one') return 60_000;
  return share * (app.issuer === 'classic' ? 0.45 * LIFETIME_MS : LIFETIME_MS - 300_000);
}

answer({
  async start(apps: readonly BenchApp[]): Promise<string> {
    sandbox = await startSandbox({
      listen: { host: '127.0.0.1', port: 0 },
      clock,
      random: Math.random,
      apps: apps.map(({ appId, secret }) => ({ appId, secret, lifetimeMs: LIFETIME_MS })),
    });
    return sandbox.url;
  },

  /** Makes a store in which each app has a token that the simulated WeChat honours. */
  async fill({ path, apps, ages }: { path: string; apps: readonly BenchApp[]; ages: Ages }): Promise<void> {
    const { wechat } = running();
    const opened = await openStore({ kind: 'sqlite', path }, DEPS);
    const store = recordsOf(opened);
    const saves = apps.map((app, i) => {
      ageMs = ageOf(app, i / apps.length, ages);
      const { value, id, issuedAt, endsAt } = wechat.mintOutside(app.appId, app.issuer);
      const record: StoredApp = {
        appId: app.appId,
        issuer: app.issuer,
        generation: issuedAt,
        current: { value, id, issueTime: issuedAt, expireTime: endsAt },
        previous: null,
        budget: { day: 0, mints: 0, forced: 0 },
        lastMintTime: issuedAt,
        lastForcedTime: 0,
        openMints: 0,
      };
      return store.save(record);
    });
    ageMs = 0;
    await Promise.all(saves);
    await opened.close();
  },

  counts: () => running().wechat.counts(),

  /** Waits until so many apps have a token, and resolves with the times of the calls that they were asked for with. */
  async minted(count: number): Promise<number[]> {
    const { wechat } = running();
    while (wechat.counts().mints < count) await setTimeout(50);
    return wechat.calls.filter(({ minted }) => minted).map(({ time }) => time);
  },
});
process.on('SIGTERM', () => process.exit());
