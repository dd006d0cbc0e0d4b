import type { Timer } from '../../../src/core/kernel/clock.ts';
import type { BrokerEvent } from '../../../src/core/tokens/events.ts';
import type { App } from '../../../src/core/tokens/ports.ts';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import { settle } from '../../support/clock.ts';
import type { ProcessDeps } from '../../support/process.ts';
import { SECOND, World } from '../../support/world.ts';
import { Client } from './client.ts';
import { Disk } from './disk.ts';
import { Findings, leaks } from './findings.ts';
import { Pauses } from './pauses.ts';
import { Published } from './published.ts';
import type { Scenario } from './scenario.ts';
import { Spending } from './spending.ts';
import { Truth } from './truth.ts';
import { Upstream } from './upstream.ts';

const SWEEP_MS = 30 * SECOND;
const UNLIMITED = {
  classicPerDay: Number.MAX_SAFE_INTEGER,
  classicPerMinute: Number.MAX_SAFE_INTEGER,
  stablePerDay: Number.MAX_SAFE_INTEGER,
  stablePerMinute: Number.MAX_SAFE_INTEGER,
  forcedPerDay: Number.MAX_SAFE_INTEGER,
};

/** A world with observers at every door, and the changes that a scenario makes to it. */
export class Stage {
  readonly world: World;
  readonly appIds: readonly string[];
  readonly findings = new Findings();
  readonly truth: Truth;
  readonly spending: Spending;
  readonly disk: Disk;
  readonly upstream: Upstream;
  readonly published: Published;
  readonly clients: Client[] = [];
  readonly pauses: Pauses;
  /** How far ahead the clock was when an app was taken out of the configuration: its record stayed in memory. */
  readonly #leftOffsets = new Map<string, number>();
  readonly #removed = new Map<string, App>();
  /** How often each app was taken out. */
  readonly #leavings = new Map<string, number>();
  #secrets = 0;
  #sweeping: Timer | undefined;

  constructor(scenario: Scenario) {
    const { issuers, dailyBudget, forceDailyBudget, probeIntervalMs, lifetimeMs, seed } = scenario;
    this.world = new World({
      apps: Object.fromEntries(issuers.map((issuer, i) => [`wx${i}`, issuer])),
      settings: { dailyBudget, forceDailyBudget, probeIntervalMs },
      // WeChat's own limits are faults like others here: whether the broker keeps its budgets is what is checked.
      wechat: { lifetimeMs, quotas: UNLIMITED },
      seed,
      tap: (deps) => this.#tap(deps),
    });
    this.appIds = this.world.apps.map(({ appId }) => appId);
    this.truth = new Truth(this.world);
    this.spending = new Spending(this.world, this.truth, this.findings);
    this.disk = new Disk(this.world, this.truth, this.findings);
    this.pauses = new Pauses(this.world, this.findings);
    const { world, truth, spending, pauses, findings } = this;
    this.upstream = new Upstream({ world, truth, spending, pauses, findings });
    this.published = new Published(this.world, this.truth, this.disk, this.findings);
  }

  appId(index: number): string {
    return this.appIds[index % this.appIds.length] ?? '';
  }

  state(appId: string): TokenState | undefined {
    for (const state of this.world.broker.states()) if (state.appId === appId) return state;
    return undefined;
  }

  /** The laws that hold at every step of time. */
  check(): void {
    const states = [...this.world.broker.states()];
    for (const state of states) this.published.check(state);
    for (const client of this.clients) client.check(states);
    this.upstream.check();
  }

  /** A process starts on what the disk has. */
  async start(): Promise<void> {
    const { broker, apps } = this.world;
    this.truth.see();
    for (const appId of this.appIds) {
      const record = this.disk.record(appId);
      this.pauses.forgive(appId);
      this.published.resumed(appId, record?.generation ?? 0, record?.current?.value);
      this.#leftOffsets.delete(appId);
      if (apps.some((app) => app.appId === appId)) this.#resume(appId);
    }
    await broker.start(apps);
    await settle();
    this.#sweepLater();
    for (const client of this.clients) client.connect(broker);
  }

  /** The process dies, and what is left of it on the disk is kept, lost, or `steps` writes old. */
  async kill(store: 'kept' | 'lost' | 'rolled back', steps: number): Promise<void> {
    const refused = this.appIds.filter((appId) => this.disk.refused(appId));
    await this.world.kill();
    for (const client of this.clients) client.cut();
    this.disk.died();
    this.upstream.died();
    if (store === 'lost') this.disk.lose();
    if (store === 'rolled back') this.disk.rollBack(steps);
    for (const appId of this.appIds) {
      this.spending.landed(appId, undefined);
      if (!refused.includes(appId) && store === 'kept') continue;
      this.spending.lost(appId);
      this.truth.disturb(appId, 'classic', 'stable');
    }
  }

  sweep(): void {
    this.world.broker.sweep();
    this.truth.see();
  }

  stopSweeping(): void {
    this.#sweeping?.cancel();
  }

  /** The broker's clock is set, or the machine sleeps. A clock that was set back is noticed at once. */
  async leap(how: 'jump' | 'sleep', ms: number): Promise<void> {
    const { clock, apps } = this.world;
    // Two leaps that nobody saw apart might cancel out.
    this.sweep();
    await settle();
    this.truth.leap(how, ms);
    for (const { appId } of apps) this.pauses.forgive(appId);
    if (how === 'sleep') return clock.sleep(ms);
    this.spending.jumps++;
    clock.jump(ms);
    if (ms > 0) return;
    this.sweep();
    await settle();
    // What can be written is written by the new clock.
    if (this.disk.mode !== 'works') return;
    for (const { appId } of apps) {
      if (this.upstream.of(appId).active.length === 0) this.disk.offsets.set(appId, this.truth.offset());
    }
  }

  secret(appId: string, change: 'reset' | 'right' | 'wrong'): void {
    const { wechat } = this.world;
    const fresh = () => `secret of ${appId}, number ${++this.#secrets}`;
    if (change === 'reset') wechat.setApp({ appId, secret: fresh() });
    else this.#reload(appId, { secret: change === 'right' ? (wechat.app(appId).secret ?? '') : fresh() });
  }

  otherIssuer(appId: string): void {
    const app = this.world.apps.find((each) => each.appId === appId);
    this.#reload(appId, { issuer: app?.issuer === 'classic' ? 'stable' : 'classic' });
  }

  /** Takes an app out of the configuration, or puts it back. */
  toggle(appId: string): void {
    const { apps } = this.world;
    const app = apps.find((each) => each.appId === appId);
    const back = this.#removed.get(appId);
    if (app) {
      this.#removed.set(appId, app);
      this.#leftOffsets.set(appId, this.truth.offset());
      this.#leavings.set(appId, (this.#leavings.get(appId) ?? 0) + 1);
      this.spending.landed(appId, undefined);
      this.#configure(apps.filter((each) => each !== app));
    } else if (back) {
      this.#resume(appId);
      this.#configure([...apps, back]);
    }
  }

  /** How often the app was taken out: put back, it is another. */
  leavings(appId: string): number {
    return this.#leavings.get(appId) ?? 0;
  }

  watch(appIds: readonly string[], known: ReadonlyMap<string, number>, pace: 'fast' | 'slow'): void {
    const client = new Client({ appIds, known, pace, findings: this.findings });
    client.connect(this.world.broker);
    this.clients.push(client);
  }

  #reload(appId: string, change: Partial<App>): void {
    this.#configure(this.world.apps.map((app) => (app.appId === appId ? { ...app, ...change } : app)));
  }

  #configure(apps: App[]): void {
    for (const appId of this.appIds) this.pauses.forgive(appId);
    this.world.apps = apps;
    this.world.broker.configure(apps);
    for (const client of this.clients) if (!client.open) client.connect(this.world.broker);
  }

  /** A record is taken into use; its times may be by a clock that was ahead of today's. */
  #resume(appId: string): void {
    const offset = this.#leftOffsets.get(appId) ?? this.disk.offsets.get(appId) ?? 0;
    this.truth.flatter(appId, Math.max(0, offset - this.truth.offset()));
  }

  #sweepLater(): void {
    this.#sweeping = this.world.clock.schedule(SWEEP_MS, () => {
      this.sweep();
      this.#sweepLater();
    });
  }

  /** Each new broker gets its world through here; the first does before the observers exist, hence the late look at them. */
  #tap(deps: ProcessDeps): ProcessDeps {
    return {
      ...deps,
      wechat: {
        fetchToken: (app, call, signal) => this.upstream.fetchToken(deps.wechat, app, call, signal),
        probe: (token, signal) => this.upstream.probe(deps.wechat, token, signal),
      },
      store: {
        load: () => deps.store.load(),
        save: (app) => this.disk.save(app),
        close: () => deps.store.close(),
      },
      observe: (event) => this.#observe(event),
    };
  }

  #observe(event: BrokerEvent): void {
    const error = 'error' in event && event.error instanceof Error ? event.error.stack : '';
    this.findings.law('no event holds a secret or a token', !leaks(JSON.stringify(event) + error), () => event.type);
    if (event.type !== 'rotated' && event.type !== 'unchanged' && event.type !== 'refresh_failed') return;
    this.spending.landed(event.appId, event.cause);
    this.pauses.landed(event);
  }
}
