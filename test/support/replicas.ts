import { createBroker } from '../../src/app/broker.ts';
import type { Cluster, ClusterDeps } from '../../src/core/cluster/cluster.ts';
import { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { App, IssuerKind, Settings, WeChat } from '../../src/core/tokens/ports.ts';
import type { Registry } from '../../src/core/tokens/registry.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import type { CallKind } from '../../src/sandbox/calls.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { probeError, tokenError } from '../../src/wechat/errcodes.ts';
import { FakeClock, settle } from './clock.ts';
import { seeded } from './random.ts';
import { Life } from './replica.ts';
import { SandboxWeChat } from './sandbox-port.ts';
import { type FakeConnection, FakeSharedStore } from './shared-store.ts';
import { SECOND, SETTINGS } from './world.ts';

export const LEASE = 15 * SECOND;
export const POLL = 2 * SECOND;

/** One replica. */
export interface Replica {
  readonly name: string;
  readonly life: Life;
  readonly connection: FakeConnection;
  readonly broker: Registry;
  readonly cluster: Cluster | undefined;
  readonly events: BrokerEvent[];
  /** Between it and WeChat; `held` calls wait until they are let go, whatever becomes of the replica. */
  readonly line: Line;
}

/** One replica's way to WeChat. */
export class Line implements WeChat {
  readonly #wechat: WeChat;
  /** `before`: requests wait on their way there. `after`: answers wait on their way back. `lost`: answers never come. */
  hold: 'none' | 'before' | 'after' | 'lost' = 'none';
  /** Reads of a stable token are held too. */
  holdsReads = true;
  #held: (() => void)[] = [];

  constructor(wechat: WeChat) {
    this.#wechat = wechat;
  }

  /** How many calls are held. */
  get waiting(): number {
    return this.#held.length;
  }

  /** Lets go what is held. */
  release(): void {
    this.hold = 'none';
    const held = this.#held;
    this.#held = [];
    for (const go of held) go();
  }

  async fetchToken(...[app, call, signal]: Parameters<WeChat['fetchToken']>) {
    const hold = call === 'stable' && !this.holdsReads ? 'none' : this.hold;
    const arrived = () => this.#wechat.fetchToken(app, call, new AbortController().signal);
    const gate = () => new Promise<void>((go) => this.#held.push(go));
    const given = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(tokenLost()), { once: true }),
    );
    if (hold === 'before') {
      const answer = gate().then(arrived);
      answer.catch(() => undefined);
      return await Promise.race([answer, given]);
    }
    const answer = arrived();
    answer.catch(() => undefined);
    if (hold === 'after') return await Promise.race([gate().then(() => answer), given]);
    if (hold === 'lost') return await given;
    return await Promise.race([answer, given]);
  }

  probe(token: string, signal: AbortSignal) {
    return this.#wechat.probe(token, signal);
  }
}

/** Several brokers on one shared store, before a simulated WeChat, on one driven clock. */
export class Replicas {
  readonly clock = new FakeClock();
  /** By how much the store's clock is ahead of everyone else's. */
  storeAheadMs = 0;
  readonly store = new FakeSharedStore(() => this.clock.outside.now() + this.storeAheadMs);
  readonly wechat: SimulatedWeChat;
  readonly settings: Settings;
  readonly apps: readonly App[];
  readonly all: Replica[] = [];
  readonly #random;
  #started = 0;

  constructor(options: { apps?: Record<string, IssuerKind>; settings?: Partial<Settings>; seed?: number } = {}) {
    this.#random = seeded(options.seed ?? 1);
    this.settings = { ...SETTINGS, ...options.settings };
    this.apps = Object.entries(options.apps ?? { wxc: 'classic' as const }).map(([appId, issuer]) => ({
      appId,
      issuer,
      secret: `secret of ${appId}`,
    }));
    this.wechat = new SimulatedWeChat({
      clock: this.clock.outside,
      random: this.#random,
      apps: this.apps.map(({ appId, secret }) => ({ appId, secret })),
    });
  }

  /** So many replicas that have started and have had time for their first calls. */
  static async started(count: number, options?: ConstructorParameters<typeof Replicas>[0]): Promise<Replicas> {
    const replicas = new Replicas(options);
    for (let i = 0; i < count; i++) await replicas.add();
    await replicas.clock.advance(60 * SECOND);
    return replicas;
  }

  /**
   * Starts one more, which is told of deaths and of its own end; `apps`: it is configured otherwise than the rest; `keys`: it
   * seals by the first of them and opens what they have sealed.
   */
  async add(
    told: Pick<ClusterDeps, 'onDeath' | 'onLeave'> & {
      readonly apps?: readonly App[];
      readonly keys?: readonly string[];
    } = {},
  ): Promise<Replica> {
    const { apps = this.apps, keys, ...listeners } = told;
    const name = `r${++this.#started}`;
    const life = new Life();
    const connection = this.store.connect();
    if (keys) connection.keys = keys;
    const toError = (errcode: number, errmsg: string, call: CallKind) =>
      call === 'probe' ? probeError(errcode, errmsg) : tokenError(errcode, errmsg);
    const line = new Line(new SandboxWeChat({ wechat: this.wechat, clock: this.clock, toError }));
    const events: BrokerEvent[] = [];
    const { registry: broker, cluster } = createBroker(
      {
        clock: life.clock(this.clock),
        random: this.#random,
        wechat: life.wechat(line),
        observe: (event) => events.push(event),
        store: {
          shared: {
            store: life.store(connection),
            replica: name,
            address: '',
            leaseMs: LEASE,
            pollMs: POLL,
            ...listeners,
          },
        },
      },
      this.settings,
    );
    const replica = { name, life, connection, broker, cluster, events, line };
    this.all.push(replica);
    await broker.start(apps);
    await settle();
    return replica;
  }

  /** Those that run and are not stopped. */
  get running(): Replica[] {
    return this.all.filter(({ life }) => life.alive);
  }

  /** The replica that refreshes the app on schedule. */
  owner(appId = 'wxc'): Replica {
    const owner = this.running[0]?.cluster?.status()?.apps.find((app) => app.appId === appId)?.owner;
    return this.get(owner ?? '');
  }

  /** The replicas that do not. */
  others(appId = 'wxc'): Replica[] {
    const owner = this.owner(appId);
    return this.running.filter((replica) => replica !== owner);
  }

  get(name: string): Replica {
    const found = this.all.find((replica) => replica.name === name);
    if (!found) throw new Error(`no replica ${name}`);
    return found;
  }

  state(replica: Replica, appId = 'wxc'): TokenState {
    for (const state of replica.broker.states()) if (state.appId === appId) return state;
    throw new Error(`no ${appId}`);
  }

  /** The current token's value at each running replica. */
  tokens(appId = 'wxc'): string[] {
    return this.running.map((replica) => this.state(replica, appId).current?.value ?? '');
  }

  /** Whether all running replicas have one and the same token, which WeChat honours. */
  agreed(appId = 'wxc'): boolean {
    const [first = '', ...rest] = this.tokens(appId);
    return this.wechat.honours(appId, first) && rest.every((token) => token === first);
  }

  /** Mints of WeChat's at all. */
  mints(appId = 'wxc'): number {
    return this.wechat.counts(appId).mints;
  }

  async kill(replica: Replica): Promise<void> {
    replica.life.kill();
    await replica.connection.close();
  }

  /** Passes time until the condition holds, at most `ms`; says how long it took. */
  async until(condition: () => boolean, ms: number): Promise<number> {
    const begin = this.clock.monotonic();
    while (!condition()) {
      if (this.clock.monotonic() - begin > ms) throw new Error('it never came true');
      await this.clock.advance(SECOND / 4);
    }
    return this.clock.monotonic() - begin;
  }
}

function tokenLost(): UpstreamError {
  const fate = { reason: 'UPSTREAM_TIMEOUT', recovery: { kind: 'backoff' }, effect: 'unknown' } as const;
  return new UpstreamError('WeChat did not answer in time', fate);
}
