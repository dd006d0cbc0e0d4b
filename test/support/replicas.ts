import { Broker } from '../../src/core/broker.ts';
import type { Member, Replaced, SharedRecord, SharedStore, StoreListener } from '../../src/core/cluster/ports.ts';
import type { BrokerEvent } from '../../src/core/events.ts';
import type { App, IssuerKind, StoredApp } from '../../src/core/ports.ts';
import type { TokenState } from '../../src/core/state.ts';
import { SandboxWeChat } from '../../src/sandbox/port.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { tokenError } from '../../src/wechat/errcodes.ts';
import { FakeClock } from './clock.ts';
import { seeded } from './random.ts';
import { FakeStore } from './store.ts';
import { SECOND, SETTINGS } from './world.ts';

/** Records in memory that several brokers share, each by a connection of its own. */
export class SharedRecords {
  readonly #clock: FakeClock;
  readonly #records = new Map<string, SharedRecord & { readonly at: number }>();
  readonly #members = new Map<string, Member>();
  readonly #listeners = new Set<StoreListener>();
  #position = 0;
  /** Whether the store tells of changes by itself. */
  hints = true;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  /** A connection; while its `away` is set, every call of it rejects. */
  connect(): SharedStore & { away: boolean } {
    let own: StoreListener | undefined;
    const reached = () => {
      if (connection.away) throw new Error('the store is away');
    };
    const connection = {
      away: false,
      poll: async (self: Member, position: number) => {
        await undefined;
        reached();
        this.#members.set(self.replica, self);
        const from = position > this.#position ? 0 : position;
        const changed = [...this.#records.values()].filter(({ at }) => at > from);
        return { position: this.#position, changed, members: [...this.#members.values()], time: this.#clock.now() };
      },
      read: async (appIds: readonly string[]) => {
        await undefined;
        reached();
        return appIds.flatMap((appId) => this.#records.get(appId) ?? []);
      },
      replace: async (app: StoredApp, expected: string | null, etag: string): Promise<Replaced> => {
        await undefined;
        reached();
        const found = this.#records.get(app.appId) ?? null;
        if ((found?.etag ?? null) !== expected) return { stored: false, found };
        this.#records.set(app.appId, { app: structuredClone(app), etag, at: ++this.#position });
        if (this.hints)
          for (const listener of this.#listeners) if (listener !== own) setImmediate(() => listener.changed(app.appId));
        return { stored: true };
      },
      remove: async (replica: string) => {
        await undefined;
        reached();
        this.#members.delete(replica);
      },
      listen: (listener: StoreListener) => {
        own = listener;
        this.#listeners.add(listener);
      },
      close: async () => undefined,
    };
    return connection;
  }
}

/** One of several brokers. */
export interface Replica {
  readonly name: string;
  readonly broker: Broker;
  readonly store: SharedStore & { away: boolean };
  readonly events: BrokerEvent[];
}

/** Brokers that share a store before one simulated WeChat, on one driven clock. */
export class Replicas {
  readonly clock = new FakeClock();
  readonly records = new SharedRecords(this.clock);
  readonly apps: readonly App[];
  readonly wechat: SimulatedWeChat;
  readonly all: Replica[] = [];
  readonly #random = seeded(3);

  constructor(issuers: Record<string, IssuerKind>) {
    this.apps = Object.entries(issuers).map(([appId, issuer]) => ({ appId, issuer, secret: `secret of ${appId}` }));
    this.wechat = new SimulatedWeChat({
      clock: this.clock.outside,
      random: this.#random,
      apps: this.apps.map(({ appId, secret }) => ({ appId, secret })),
    });
  }

  /** So many replicas, named r1 and on, that have started and have had time for their first calls. */
  static async started(count: number, issuers: Record<string, IssuerKind> = { wxc: 'classic' }): Promise<Replicas> {
    const replicas = new Replicas(issuers);
    for (let i = 1; i <= count; i++) await replicas.start(`r${i}`);
    await replicas.clock.advance(10 * SECOND);
    return replicas;
  }

  /** One more. */
  async start(name: string): Promise<Replica> {
    const events: BrokerEvent[] = [];
    const store = this.records.connect();
    const toError = (errcode: number, errmsg: string) => tokenError(errcode, errmsg);
    const wechat = new SandboxWeChat({ wechat: this.wechat, clock: this.clock, toError });
    const broker = new Broker(
      {
        clock: this.clock,
        random: this.#random,
        wechat,
        store: new FakeStore(),
        observe: (event) => events.push(event),
        cluster: { store, replica: name, address: `${name}:7600`, leaseMs: 15 * SECOND, pollMs: 2 * SECOND },
      },
      SETTINGS,
    );
    const replica = { name, broker, store, events };
    this.all.push(replica);
    await broker.start(this.apps);
    return replica;
  }

  /** The replica with this number, from 1. */
  of(number: number): Replica {
    const replica = this.all[number - 1];
    if (!replica) throw new Error(`no replica ${number}`);
    return replica;
  }

  /** How a replica sees an app. */
  state(number: number, appId = 'wxc'): TokenState {
    for (const state of this.of(number).broker.states()) if (state.appId === appId) return state;
    throw new Error(`no ${appId}`);
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map(({ broker }) => broker.stop()));
  }
}
