import { createBroker } from '../../src/app/broker.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { App, IssuerKind, Settings } from '../../src/core/tokens/ports.ts';
import type { Registry } from '../../src/core/tokens/registry.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import type { SandboxApp } from '../../src/sandbox/app.ts';
import type { CallKind } from '../../src/sandbox/calls.ts';
import type { Fault, FaultEffect } from '../../src/sandbox/faults.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { probeError, tokenError } from '../../src/wechat/errcodes.ts';
import { FakeClock, settle } from './clock.ts';
import { Process, type ProcessDeps } from './process.ts';
import { seeded } from './random.ts';
import { SandboxWeChat } from './sandbox-port.ts';
import { FakeStore } from './store.ts';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** The defaults of the configuration. */
export const SETTINGS: Settings = {
  timeoutMs: 5 * SECOND,
  overlapMs: 5 * MINUTE,
  quotaResetHour: 0,
  classicAt: 0.5,
  stablePollMs: 15 * SECOND,
  cooldownMs: 30 * SECOND,
  probeIntervalMs: 60 * SECOND,
  dailyBudget: 1000,
  forceDailyBudget: 18,
  heartbeatMs: 10 * SECOND,
  maxWatchers: 50_000,
};

/** A broker before a simulated WeChat, on one driven clock. */
export class World {
  readonly clock = new FakeClock();
  readonly store = new FakeStore();
  readonly events: BrokerEvent[] = [];
  readonly wechat: SimulatedWeChat;
  readonly settings: Settings;
  readonly #random;
  readonly #tap: (deps: ProcessDeps) => ProcessDeps;
  #process: Process | undefined;
  apps: App[];
  broker: Registry;

  constructor(
    options: {
      apps?: Record<string, IssuerKind>;
      settings?: Partial<Settings>;
      wechat?: Partial<SandboxApp>;
      seed?: number;
      /** Puts something between each broker and its world. */
      tap?: (deps: ProcessDeps) => ProcessDeps;
    } = {},
  ) {
    this.#random = seeded(options.seed ?? 1);
    this.#tap = options.tap ?? ((deps) => deps);
    this.settings = { ...SETTINGS, ...options.settings };
    const issuers: Record<string, IssuerKind> = options.apps ?? { wxc: 'classic' };
    this.apps = Object.entries(issuers).map(([appId, issuer]) => ({
      appId,
      issuer,
      secret: `secret of ${appId}`,
    }));
    this.wechat = new SimulatedWeChat({
      clock: this.clock.outside,
      random: this.#random,
      apps: this.apps.map(({ appId, secret }) => ({ appId, secret, ...options.wechat })),
    });
    this.broker = this.#newBroker();
  }

  #newBroker(): Registry {
    const toError = (errcode: number, errmsg: string, call: CallKind) =>
      call === 'probe' ? probeError(errcode, errmsg) : tokenError(errcode, errmsg);
    this.#process = new Process(
      this.#tap({
        clock: this.clock,
        random: this.#random,
        store: this.store,
        wechat: new SandboxWeChat({ wechat: this.wechat, clock: this.clock, toError }),
        observe: (event) => this.events.push(event),
      }),
    );
    const { store, ...deps } = this.#process.deps;
    return createBroker({ ...deps, store: { local: store } }, this.settings).registry;
  }

  /** A world whose broker has started and has had time for its first calls. */
  static async started(options?: ConstructorParameters<typeof World>[0]): Promise<World> {
    const world = new World(options);
    await world.broker.start(world.apps);
    await world.clock.advance(10 * SECOND);
    return world;
  }

  /** The process dies without a word and another takes its place `afterMs` later. */
  async crash(afterMs = 0): Promise<void> {
    await this.kill();
    await this.clock.advance(afterMs);
    this.broker = this.#newBroker();
    await this.broker.start(this.apps);
    await settle();
  }

  /** The process dies without a word: its timers never fire again, and nothing that it waits for reaches it. */
  async kill(): Promise<void> {
    this.#process?.kill();
    this.clock.forgetTimers();
    this.broker = this.#newBroker();
  }

  /** Every call meets this, or those that `fault` names. */
  break(effect: FaultEffect, fault: Omit<Fault, 'effect'> = {}): void {
    this.wechat.faults.inject({ effect, ...fault });
  }

  /** WeChat works again. */
  mend(): void {
    this.wechat.faults.clear();
  }

  /** The state of an app, usable or not. */
  state(appId = 'wxc'): TokenState {
    for (const state of this.broker.states()) if (state.appId === appId) return state;
    throw new Error(`no ${appId}`);
  }

  /** The current token's value. */
  token(appId = 'wxc'): string {
    return this.state(appId).current?.value ?? '';
  }

  /** Calls that WeChat counted as of these kinds. */
  counts(appId = 'wxc') {
    return this.wechat.counts(appId);
  }

  /** Whether WeChat honours the app's current token. */
  good(appId = 'wxc'): boolean {
    return this.wechat.honours(appId, this.token(appId));
  }

  /** The events of one type. */
  seen<T extends BrokerEvent['type']>(type: T): Extract<BrokerEvent, { type: T }>[] {
    return this.events.filter((event): event is Extract<BrokerEvent, { type: T }> => event.type === type);
  }
}
