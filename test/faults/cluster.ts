import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { tokenClient } from '../../src/commands/client.ts';
import type { IssuerKind } from '../../src/core/ports.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { Child } from '../support/child.ts';
import { seeded } from '../support/random.ts';
import { RedisServer } from '../support/redis.ts';
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
/** After an ambiguous mint all is settled two thirds of the overlap later; with a lease and a probe on top all has converged. */
export const CONVERGED_MS = (TIMES.overlapMs * 2) / 3 + TIMES.leaseMs + TIMES.probeMs;

/** One replica: the command itself, with a proxy on each of its ways. */
export interface Replica {
  readonly child: Child;
  readonly grpc: string;
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
  static async start(issuer: IssuerKind, subscribers: { count: number; first?: number }): Promise<Cluster> {
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
    const { lifetimeMs, overlapMs } = TIMES;
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
    const replica = { child, grpc: String(ready['grpc']), toWeChat, toRedis };
    this.replicas[at] = replica;
    return replica;
  }

  /** The replica at this position. */
  at(position: number): Replica {
    const replica = this.replicas[position];
    if (!replica) throw new Error(`there is no replica ${position}`);
    return replica;
  }

  /** Has a replica refresh the token; its answer does not matter. */
  refresh(replica: Replica): Promise<void> {
    const left = AbortSignal.timeout(20_000);
    return tokenClient(replica.grpc)
      .forceRefresh({ appId: APP }, { signal: left })
      .then(
        () => undefined,
        () => undefined,
      );
  }

  /** Waits until the token that everyone has is one that WeChat honours, and no mint is owed or open. */
  async converged(ms = 3 * CONVERGED_MS): Promise<void> {
    await until('all subscribers have one token, which WeChat honours', ms, () => {
      const generations = this.subscribers.generations();
      const newest = Math.max(...generations);
      const holding = this.subscribers.holdings.findLast(({ generation }) => generation === newest);
      const token = this.wechat.wechat.tokens(APP).find(({ id }) => id === holding?.tokenId);
      return generations.every((generation) => generation === newest) && token?.honoured === true;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

/** Looks every 20 ms until it is so. Rejects with `what` after `ms`. */
export async function until(what: string, ms: number, isSo: () => boolean): Promise<void> {
  const end = performance.now() + ms;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await setTimeout(20);
  }
}
