import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@connectrpc/connect';
import { clientOf, refusalOf, tokenClient } from '../../src/commands/client.ts';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import { AdminService } from '../../src/gen/lingpai/v1/admin_pb.js';
import { ForceRefreshOutcome } from '../../src/gen/lingpai/v1/token_pb.js';
import { systemClock } from '../../src/ops/clock.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { Child } from '../support/child.ts';
import { seeded } from '../support/random.ts';
import { RedisServer } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { TcpProxy } from './proxy.ts';
import { Subscribers } from './subscribers.ts';

const ROOT = join(import.meta.dirname, '../..');
export const APP = 'wxf';
const SECRET = 'correct-horse-battery';
export const REPLICAS = 3;

/** WeChat's times, and ours beside them, a tenth to a twentieth of what they are in life. */
export const TIMES = {
  lifetimeMs: 90_000,
  overlapMs: 15_000,
  leaseMs: 2_000,
  pollMs: 250,
  timeoutMs: 1_000,
  probeMs: 3_000,
} as const;
/** One replica: the command itself, with a proxy on each of its ways. */
export interface Replica {
  readonly child: Child;
  readonly grpc: string;
  readonly http: string;
  readonly admin: Client<typeof AdminService>;
  readonly toWeChat: TcpProxy;
  readonly toRedis: TcpProxy;
}

/** Three replicas on a Redis of their own, a simulated WeChat, and subscribers. */
export class Cluster implements AsyncDisposable {
  readonly issuer: IssuerKind;
  readonly replicas: Replica[] = [];
  readonly #stack: AsyncDisposableStack;
  readonly #folder: string;
  readonly wechat: Sandbox;
  readonly redis: RedisServer;
  subscribers!: Subscribers;

  private constructor(
    issuer: IssuerKind,
    parts: { stack: AsyncDisposableStack; folder: string; wechat: Sandbox; redis: RedisServer },
  ) {
    this.issuer = issuer;
    this.#stack = parts.stack;
    this.#folder = parts.folder;
    this.wechat = parts.wechat;
    this.redis = parts.redis;
  }

  /** Starts all of it; resolves when every subscriber has a token. */
  static async start(
    issuer: IssuerKind,
    subscribers: { count: number; first?: number },
    lifetimeMs: number = TIMES.lifetimeMs,
  ): Promise<Cluster> {
    const stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'lingpai-faults-'));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const redis = stack.use(await RedisServer.start());
    const quotas = {
      classicPerDay: 10_000,
      classicPerMinute: 1_000,
      stablePerDay: 10_000,
      stablePerMinute: 1_000,
      forcedPerDay: 1_000,
    };
    const { overlapMs } = TIMES;
    const app = { appId: APP, secret: SECRET, lifetimeMs, overlapMs, quotas, forceSpacingMs: 1_000 };
    const wechat = await startSandbox({
      listen: { host: '127.0.0.1', port: 0 },
      clock: systemClock,
      random: seeded(7),
      apps: [app],
    });
    stack.defer(() => wechat.close());
    const cluster = new Cluster(issuer, { stack, folder, wechat, redis });
    await Promise.all(Array.from({ length: REPLICAS }, (_, at) => cluster.add(at)));
    cluster.subscribers = stack.use(new Subscribers({ appId: APP, addresses: cluster.addresses, ...subscribers }));
    await cluster.subscribers.reached(1);
    return cluster;
  }

  get addresses(): string[] {
    return this.replicas.map(({ grpc }) => grpc);
  }

  /** How many tokens WeChat has made. */
  get mints(): number {
    return this.wechat.wechat.counts(APP).mints;
  }

  /** Starts a replica at this position, in another's place where there was one. */
  async add(at: number): Promise<Replica> {
    const weChatPort = Number(new URL(this.wechat.url).port);
    const toWeChat = this.#stack.use(await TcpProxy.before(() => weChatPort));
    const toRedis = this.#stack.use(await TcpProxy.before(() => this.redis.port));
    const path = join(this.#folder, `${toRedis.port}.yaml`);
    const ms = (value: number) => `${value}ms`;
    const config = {
      grpc: { listen: '127.0.0.1:0' },
      http: { listen: '127.0.0.1:0' },
      store: { url: `redis://127.0.0.1:${toRedis.port}` },
      upstream: {
        base_url: `http://127.0.0.1:${toWeChat.port}`,
        timeout: ms(TIMES.timeoutMs),
        overlap: ms(TIMES.overlapMs),
      },
      refresh: { stable_poll: '1s', cooldown: '0s', probe_interval: ms(TIMES.probeMs) },
      watch: { heartbeat: '1s' },
      cluster: { lease: ms(TIMES.leaseMs), poll: ms(TIMES.pollMs) },
      apps: [{ app_id: APP, secret: SECRET, issuer: this.issuer }],
    };
    await writeFile(path, JSON.stringify(config));
    const main = join(ROOT, 'src/lingpai.js');
    const command = [
      process.execPath,
      '--disable-warning=ExperimentalWarning',
      main,
      'serve',
      '--config',
      path,
    ] as const;
    const child = this.#stack.use(new Child({ name: 'lingpai serve', command: [...command], cwd: this.#folder }));
    const ready = await child.next('"ready"', (line) => line.msg === 'ready');
    const grpc = String(ready['grpc']);
    const http = String(ready['http']);
    const replica = { child, grpc, http, admin: clientOf(AdminService, grpc), toWeChat, toRedis };
    this.replicas[at] = replica;
    return replica;
  }

  /** The replica at this position. */
  at(position: number): Replica {
    const replica = this.replicas[position];
    if (!replica) throw new Error(`there is no replica ${position}`);
    return replica;
  }

  /** Has a replica refresh the token; resolves with the outcome's name, and rejects with why there is none. */
  async refresh(replica: Replica): Promise<string> {
    const signal = AbortSignal.timeout(20_000);
    try {
      const { outcome } = await tokenClient(replica.grpc).forceRefresh({ appId: APP }, { signal });
      return ForceRefreshOutcome[outcome];
    } catch (error) {
      const { code, reason, message } = refusalOf(error);
      throw new Error(`the refresh failed: ${message} (${reason || code})`);
    }
  }

  /** Waits until everyone has WeChat's newest token, and no mint is owed or open. */
  async converged(): Promise<void> {
    await until(3 * TIMES.overlapMs, () => this.#lacking());
  }

  /** Waits until each replica has found the store to be away. */
  async storeAway(): Promise<void> {
    await until(3 * TIMES.leaseMs, async () => {
      const all = await this.#statuses();
      return all.some(({ cluster }) => cluster?.storeAvailable !== false)
        ? 'every replica has lost the store'
        : undefined;
    });
  }

  /** What is not so yet when not all has converged. */
  async #lacking(): Promise<string | undefined> {
    const newest = this.wechat.wechat.tokens(APP).find(({ issuer }) => issuer === this.issuer);
    const holdings = this.subscribers.current();
    if (holdings.some((holding) => holding?.tokenId !== newest?.id))
      return "all subscribers have WeChat's newest token";
    const generations = new Set(holdings.map((holding) => holding?.generation));
    if (generations.size > 1) return 'all subscribers know it by one generation';
    for (const { cluster, apps } of await this.#statuses()) {
      const [app] = apps;
      if (!cluster?.storeAvailable || app?.share?.unsaved !== false) return 'each replica has stored what it knows';
      if (app.tokenId !== newest?.id || !generations.has(Number(app.generation))) return 'each replica has that token';
      // A stable read costs nothing: what a lost forced refresh may have made is looked for much longer.
      const { owedTime, intents } = app.share;
      if (this.issuer === 'classic' && (owedTime || intents.length > 0)) return 'no mint is owed or open';
    }
    return undefined;
  }

  #statuses() {
    return Promise.all(this.replicas.map(({ admin }) => admin.getStatus({ appIds: [APP] })));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
