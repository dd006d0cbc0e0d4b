import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { App, IssuerKind, Settings } from '../../src/core/tokens/ports.ts';
import { seeded } from '../support/random.ts';
import { SETTINGS } from '../support/world.ts';
import { boundsOf } from './bounds.ts';
import { Faults } from './faults.ts';
import { type Happening, words } from './history.ts';
import { Host } from './host.ts';
import type { Episode, Scenario } from './scenario.ts';
import { Scheduler } from './scheduler.ts';
import { type Change, StoreServer } from './shared-store.ts';
import { Storm } from './storm.ts';
import { Subscriber } from './subscriber.ts';
import { Trace } from './trace.ts';
import { Validator, type Violation } from './validator.ts';
import { WeChatServer } from './wechat.ts';
import type { WeChatWorld } from './wechat-link.ts';

/** What came of a simulated day. */
export interface Report {
  readonly seed: number;
  readonly violations: readonly Violation[];
  /** What happened before the first violation, in lines; empty where there is none. */
  readonly lines: readonly string[];
  /** The same for the same seed and the same code. */
  readonly hash: string;
  /** Over all subscribers, how long their current tokens were refused by WeChat, in milliseconds. */
  readonly badMs: Readonly<Record<IssuerKind, number>>;
  /** Tokens that WeChat made at calls of the replicas. */
  readonly mints: number;
  /** Simulated time, in milliseconds. */
  readonly lengthMs: number;
  readonly fired: number;
}

const EPOCH_TIME = Date.UTC(2026, 0, 15, 4, 0, 0);
const HOUR_MS = 3_600_000;
/** Nobody watches for silence here, and a heartbeat is work. */
const HEARTBEAT_MS = HOUR_MS;
/** Violations beyond these say nothing new. */
const MOST_VIOLATIONS = 20;

/** One scenario, played from its beginning to its end. */
export class Simulation {
  readonly #scenario: Scenario;
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #validator: Validator;
  readonly #hosts: readonly Host[];
  readonly #subscribers: readonly Subscriber[];
  readonly #server: StoreServer;
  readonly #faults: Faults;
  #lines: readonly string[] = [];
  #mints = 0;

  /** `listen` is told each line of the trace. */
  constructor(scenario: Scenario, listen?: (line: string) => void) {
    this.#scenario = scenario;
    const { seed, issuers, lifetimeMs, leaseMs, pollMs, dailyBudget, forceDailyBudget } = scenario;
    const stream = (n: number) => seeded(Math.imul(seed, 0x9e3779b1) + n);
    const scheduler = new Scheduler(stream(1));
    this.#scheduler = scheduler;
    this.#trace = new Trace(listen);
    const settings: Settings = { ...SETTINGS, heartbeatMs: HEARTBEAT_MS, dailyBudget, forceDailyBudget };
    const cluster = { leaseMs, pollMs };
    const apps: readonly App[] = issuers.map((issuer, i) => {
      return { appId: `wx${issuer}${i}`, issuer, secret: `secret of ${i}` };
    });
    this.#validator = new Validator({
      hosts: scenario.hosts,
      issuers: new Map(apps.map(({ appId, issuer }) => [appId, issuer])),
      bounds: boundsOf(settings, cluster),
      epochTime: EPOCH_TIME,
      scheduleMs: lifetimeMs * settings.classicAt * 0.9,
    });
    const note = (happening: Happening) => this.#note(happening);
    this.#server = new StoreServer({ scheduler, epochTime: EPOCH_TIME, onChange: (change) => this.#changed(change) });
    const onStep: WeChatWorld['onStep'] = (step, appId, life) => this.#faults.step(step, appId, life);
    const app = { lifetimeMs, classicPerDay: dailyBudget * 1.1, forcedPerDay: forceDailyBudget * 1.1 };
    const wechat: WeChatWorld = {
      server: new WeChatServer({ scheduler, random: stream(2), epochTime: EPOCH_TIME, apps, app, note }),
      scheduler,
      random: stream(3),
      note,
      onStep,
      mishaps: new Map(),
      held: new Set(),
      nextCall: 1,
    };
    const world = {
      ...{ scheduler, random: stream(4), epochTime: EPOCH_TIME, apps, settings, cluster, wechat, note, onStep },
      server: this.#server,
      observe: (host: number, event: BrokerEvent) => this.#remark(host, event),
    };
    this.#hosts = Array.from({ length: scenario.hosts }, (_, index) => new Host(index, world));
    const callers = { scheduler, random: stream(5), hosts: this.#hosts, note };
    this.#subscribers = this.#hosts.map((_, index) => new Subscriber({ index, ...callers }));
    this.#faults = new Faults({
      ...{ scheduler, random: stream(6), wechat, note, hosts: this.#hosts, subscribers: this.#subscribers },
      appIds: apps.map(({ appId }) => appId),
      server: this.#server,
      storm: new Storm(callers),
    });
  }

  /** Plays it all. Rejects when the simulation itself fails. */
  async play(): Promise<Report> {
    const { seed, episodes, lengthMs: end } = this.#scenario;
    const onUnhandled = (error: unknown) => {
      this.#note({ type: 'crack', host: -1, what: error instanceof Error ? (error.stack ?? '') : String(error) });
    };
    process.on('unhandledRejection', onUnhandled);
    try {
      for (const host of this.#hosts) host.start();
      for (const [i, subscriber] of this.#subscribers.entries()) {
        this.#scheduler.after(2_000, () => subscriber.connect(this.#hosts[i]));
      }
      for (const episode of episodes) this.#plan(episode);
      for (let until = 0; until < end && this.#validator.violations.length < MOST_VIOLATIONS; ) {
        until = Math.min(until + HOUR_MS, end);
        await this.#scheduler.run(until);
        this.#validator.advance(until);
        this.#keepLines();
      }
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
    return {
      seed,
      violations: this.#validator.violations,
      lines: this.#lines,
      hash: this.#trace.digest(`${this.#scheduler.fired}`),
      badMs: this.#validator.badMs,
      mints: this.#mints,
      lengthMs: this.#scheduler.now,
      fired: this.#scheduler.fired,
    };
  }

  #plan(episode: Episode): void {
    const { beginAt, healAt, calmAt, faults, trial } = episode;
    const at = (moment: number, act: () => void) => this.#scheduler.after(moment - this.#scheduler.now, act);
    at(beginAt, () => {
      const app = trial === undefined ? undefined : this.#appIds[trial];
      if (app !== undefined) this.#note({ type: 'trial', app });
    });
    for (const { afterMs, fault } of faults) {
      at(beginAt + afterMs, () => {
        const { kind, ...rest } = fault;
        this.#trace.remark(this.#scheduler.now, `FAULT ${kind} ${words(rest)}`);
        this.#faults.begin(fault);
      });
    }
    at(healAt, () => {
      this.#trace.remark(this.#scheduler.now, 'all faults are healed');
      this.#faults.heal();
    });
    at(calmAt, () => this.#note({ type: 'calm' }));
  }

  get #appIds(): readonly string[] {
    return this.#scenario.issuers.map((issuer, i) => `wx${issuer}${i}`);
  }

  #note(happening: Happening): void {
    const event = { ...happening, at: this.#scheduler.now };
    if (event.type === 'mint' && event.by !== 'outside') this.#mints++;
    this.#trace.happened(event);
    this.#validator.take(event);
    this.#keepLines();
  }

  #keepLines(): void {
    if (this.#lines.length === 0 && this.#validator.violations.length > 0) this.#lines = this.#trace.last;
  }

  #changed({ appId, app, by }: Change): void {
    const host = by === null ? null : this.#hosts.findIndex(({ process }) => process?.life.name === by);
    const pendingConfirmation = app?.shared?.pendingConfirmation ?? null;
    this.#note({
      type: 'record',
      app: appId,
      by: host,
      generation: app?.generation ?? 0,
      current: app?.current?.id ?? null,
      intents: app?.shared?.intents.length ?? 0,
      debtDueAt: pendingConfirmation && this.#server.momentOf(pendingConfirmation.time),
    });
    if (by !== null) for (const { process } of this.#hosts) process?.link.hint(appId);
  }

  #remark(host: number, event: BrokerEvent): void {
    const { type, ...rest } = event;
    if (type === 'unchanged' || (type === 'probed' && event.verdict === 'accepted') || type === 'adopted') return;
    const told = Object.entries(rest).map(([name, value]) => [
      name,
      value instanceof Error ? `${'reason' in value ? value.reason : ''} ${value.message}` : value,
    ]);
    this.#trace.remark(this.#scheduler.now, `  host ${host} ${type} ${words(Object.fromEntries(told))}`);
  }
}
