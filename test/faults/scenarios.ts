import { setTimeout } from 'node:timers/promises';
import type { IssuerKind } from '../../src/core/ports.ts';
import { type Cluster, REPLICAS, type Replica, TIMES, until } from './cluster.ts';
import type { Direction, TcpProxy } from './proxy.ts';

/** A fault, and what may come of it. */
export interface Scenario {
  readonly name: string;
  /** Does the harm, and ends it. */
  readonly act: (cluster: Cluster) => Promise<void>;
  /** Tokens that WeChat may make, the one that the scenario itself asks for among them. */
  readonly mints: Readonly<Record<IssuerKind, number>>;
  readonly subscribers?: { readonly count: number; readonly first?: number };
  /** How long each subscriber's classic token may be dead; by default as long as a push takes. */
  readonly badSecondsEach?: number;
  /** How far the last subscriber may be behind the first, in milliseconds: by default a lost replica's silence and a poll. */
  readonly behindMs?: number;
}

/** Twice the lease, as 30 s are in life. */
const LONG_MS = 2 * TIMES.leaseMs;
/** A minute in life. */
const OUTAGE_MS = 4 * TIMES.leaseMs;
/** P11. The refresh that the scenario asks for is one of them. */
const P11 = { classic: 3, stable: 1 };

const TOKEN_CALL = /(GET \/cgi-bin\/token\?|POST \/cgi-bin\/stable_token)/;
const INTENT = /"lost":false/;
const COMMIT = /"intents":\[\]/;

/** Resolves when the proxy sees such bytes; they are held, or dropped, with all that follows, or pass. */
function seen(proxy: TcpProxy, pattern: RegExp, direction: Direction, then: 'hold' | 'pass' | 'drop'): Promise<void> {
  return new Promise((resolve) => {
    proxy.rule = (chunk, towards) => {
      if (towards !== direction || !pattern.test(chunk)) return 'pass';
      if (then === 'pass') proxy.rule = () => 'pass';
      resolve();
      return then;
    };
  });
}

/** Has the replica refresh, and waits until that has come so far. */
async function upTo(cluster: Cluster, replica: Replica, point: Promise<void>): Promise<void> {
  // A refresh that another replica is at, or that is refused so soon after the last, never comes so far.
  await Promise.race([point, cluster.refresh(replica), setTimeout(2 * TIMES.leaseMs + TIMES.timeoutMs)]);
}

/** Holds WeChat's answer to the replica; resolves once it has minted. */
async function answerHeld(cluster: Cluster, replica: Replica): Promise<void> {
  const { mints } = cluster;
  const call = seen(replica.toWeChat, TOKEN_CALL, 'up', 'pass').then(() => {
    replica.toWeChat.rule = (_, direction) => (direction === 'down' ? 'hold' : 'pass');
  });
  await upTo(cluster, replica, call);
  await until('WeChat has minted', 5_000, () => cluster.mints > mints);
}

async function restart(cluster: Cluster, position: number): Promise<void> {
  await cluster.add(position);
  cluster.subscribers.move(cluster.addresses);
}

/** Kills the replica once its refresh has come to this point. */
function killed(name: string, point: (cluster: Cluster, leader: Replica) => Promise<void>): Scenario {
  return {
    name: `kill -9: ${name}`,
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await point(cluster, leader);
      leader.child.kill();
      leader.toWeChat.release();
      leader.toRedis.release();
      await restart(cluster, 0);
    },
  };
}

/** All of them. Where a scenario says "stopped" it is SIGSTOP. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'leader stopped before its bytes leave',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      // The intent is stored, and the leader does not know yet.
      await upTo(cluster, leader, seen(leader.toRedis, INTENT, 'up', 'pass'));
      leader.child.signal('SIGSTOP');
      await setTimeout(LONG_MS);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'leader stopped after WeChat minted',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await answerHeld(cluster, leader);
      leader.child.signal('SIGSTOP');
      leader.toWeChat.release();
      await setTimeout(LONG_MS);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'leader stopped, its request delivered late',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'up', 'hold'));
      leader.child.signal('SIGSTOP');
      await setTimeout(LONG_MS);
      leader.toWeChat.release();
      await setTimeout(200);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'request held and delivered late, leader running',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'up', 'hold'));
      await setTimeout(LONG_MS);
      leader.toWeChat.release();
    },
  },
  {
    name: 'leader stopped and killed, its request delivered after',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'up', 'hold'));
      leader.child.signal('SIGSTOP');
      await setTimeout(TIMES.leaseMs * 1.5);
      leader.child.kill();
      await setTimeout(TIMES.leaseMs / 2);
      leader.toWeChat.release();
      await restart(cluster, 0);
    },
  },
  {
    name: 'answer lost after the mint',
    mints: P11,
    async act(cluster) {
      const leader = cluster.at(0);
      await answerHeld(cluster, leader);
      leader.toWeChat.cut();
      leader.toWeChat.release();
    },
  },
  killed('intent stored', (cluster, leader) => upTo(cluster, leader, seen(leader.toRedis, INTENT, 'up', 'pass'))),
  killed('request sent', (cluster, leader) => upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'up', 'pass'))),
  killed('answered', (cluster, leader) => answerHeld(cluster, leader)),
  killed('about to commit', async (cluster, leader) => {
    await upTo(cluster, leader, seen(leader.toRedis, INTENT, 'up', 'pass'));
    await seen(leader.toRedis, COMMIT, 'up', 'hold');
    leader.toRedis.cut();
  }),
  killed('committed', async (cluster, leader) => {
    await upTo(cluster, leader, seen(leader.toRedis, INTENT, 'up', 'pass'));
    await seen(leader.toRedis, COMMIT, 'up', 'pass');
  }),
  killed('published', async (cluster, leader) => {
    const newest = Math.max(...cluster.subscribers.generations());
    void cluster.refresh(leader);
    await until('someone has it', 5_000, () => Math.max(...cluster.subscribers.generations()) > newest);
  }),
  {
    name: 'lease stolen again and again',
    // Two leaders are stopped in the middle, each with a token on the way, before one gets through; then one confirms.
    mints: { classic: 5, stable: 2 },
    // The two late requests make tokens that nobody has, and the second ends the one that everybody has: a probe finds out.
    badSecondsEach: TIMES.probeMs / 1_000 + 1,
    async act(cluster) {
      for (const position of [0, 1]) {
        const leader = cluster.at(position);
        await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'up', 'hold'));
        leader.child.signal('SIGSTOP');
        await setTimeout(TIMES.leaseMs * 1.5);
      }
      for (const position of [0, 1]) {
        cluster.at(position).toWeChat.release();
        cluster.at(position).child.signal('SIGCONT');
        await setTimeout(300);
      }
    },
  },
  {
    name: 'Redis killed and restarted empty',
    mints: { classic: 0, stable: 0 },
    async act(cluster) {
      await cluster.redis.kill();
      await setTimeout(TIMES.leaseMs);
      await cluster.redis.launch();
      await setTimeout(TIMES.leaseMs);
    },
  },
  {
    name: 'Redis blackholed for long',
    mints: { classic: 1, stable: 1 },
    async act(cluster) {
      const ways = cluster.replicas.map(({ toRedis }) => toRedis);
      for (const way of ways) way.rule = () => 'drop';
      await setTimeout(OUTAGE_MS);
      for (const way of ways) {
        way.release();
        way.cut();
      }
      await setTimeout(TIMES.leaseMs);
      await cluster.refresh(cluster.at(0));
    },
  },
  {
    name: 'pub/sub silently dead',
    mints: { classic: 1, stable: 1 },
    // A poll, and one more that may have begun just before.
    behindMs: 2 * TIMES.pollMs + 250,
    async act(cluster) {
      for (const { toRedis } of cluster.replicas) {
        toRedis.rule = (_, direction, { sent }) => (direction === 'down' && /subscribe/i.test(sent) ? 'drop' : 'pass');
      }
      await cluster.refresh(cluster.at(0));
      await setTimeout(TIMES.leaseMs);
      for (const { toRedis } of cluster.replicas) toRedis.release();
    },
  },
  {
    name: 'rolling restart of all replicas',
    mints: { classic: 0, stable: 0 },
    async act(cluster) {
      for (let position = 0; position < REPLICAS; position++) {
        const { child } = cluster.at(position);
        child.signal('SIGTERM');
        await child.ended();
        await restart(cluster, position);
      }
    },
  },
  {
    name: 'a replica with 2,000 watchers killed',
    mints: { classic: 1, stable: 1 },
    subscribers: { count: 2_000, first: 0 },
    behindMs: 10_000,
    async act(cluster) {
      cluster.at(0).child.kill();
      await cluster.refresh(cluster.at(1));
      await restart(cluster, 0);
    },
  },
];
