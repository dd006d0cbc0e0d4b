import { setTimeout } from 'node:timers/promises';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import { until } from '../support/until.ts';
import { type Cluster, REPLICAS, type Replica, TIMES } from './cluster.ts';
import type { Link, TcpProxy, Verdict } from './proxy.ts';

/** A fault, and what may come of it. */
export interface Scenario {
  readonly name: string;
  /** Does the harm, and ends it. */
  readonly act: (cluster: Cluster) => Promise<void>;
  /** The fewest and the most tokens that WeChat makes, the one that the scenario itself asks for among them. */
  readonly mints: Readonly<Record<IssuerKind, Mints>>;
  /** A request reaches WeChat late: what comes of it may show only when the overlap is over. */
  readonly isLate?: true;
  readonly subscribers?: { readonly count: number; readonly first?: number };
  /** How long each subscriber's classic token may be dead, and why no broker can prevent it; by default not at all. */
  readonly classicBad?: { readonly secondsEach: number; readonly why: string };
  /** How far the last subscriber may be behind the first, in milliseconds: by default a lost replica's silence and a poll. */
  readonly behindMs?: number;
}

type Mints = readonly [least: number, most: number];

/** Twice the lease, as 30 s are in life. */
const LONG_MS = 2 * TIMES.leaseMs;
/** A minute in life. */
const OUTAGE_MS = 4 * TIMES.leaseMs;
/** One mint is made and nobody learns of it, another makes up for it, and where their order is not known a third tells. */
const P11 = { classic: [2, 3], stable: [1, 1] } as const;
const ONE = { classic: [1, 1], stable: [1, 1] } as const;
const NO = { classic: [0, 0], stable: [0, 0] } as const;
/** Half a second is plenty for a commit and a push. */
const THREE_MINTS = {
  secondsEach: 0.5,
  why: 'of three tokens minted within the overlap WeChat honours two: the third is dead until the newest has been committed and pushed',
};
/** The longest that a refresh may take to a point: another replica's lease is waited for, and WeChat. */
const SEEN_MS = 2 * TIMES.leaseMs + TIMES.timeoutMs;

const TOKEN_CALL = /(GET \/cgi-bin\/token\?|POST \/cgi-bin\/stable_token)/;
const INTENT = /"lost":false/;
const COMMIT = /"intents":\[\]/;

/**
 * Resolves when the proxy sees such bytes from its client; they are held, or dropped, or pass. `unanswered`: they pass, and
 * it resolves when the answer is there, which is held. Rejects when none of it comes.
 */
function seen(proxy: TcpProxy, pattern: RegExp, then: Verdict | 'unanswered'): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let asked: Link | undefined;
  proxy.rule = (chunk, direction, link) => {
    if (direction === 'down') {
      if (then !== 'unanswered' || link !== asked) return 'pass';
      resolve();
      return 'hold';
    }
    if (asked || !pattern.test(chunk)) return 'pass';
    asked = link;
    if (then === 'unanswered') return 'pass';
    resolve();
    return then;
  };
  AbortSignal.timeout(SEEN_MS).addEventListener('abort', () =>
    reject(new Error(`${pattern} not seen in ${SEEN_MS} ms`)),
  );
  return promise;
}

/** Has the replica refresh, and waits until that has come so far. Rejects with what came of it instead. */
async function upTo(cluster: Cluster, replica: Replica, point: Promise<void>): Promise<void> {
  const ended = cluster.refresh(replica).then((outcome) => {
    throw new Error(`the refresh was over before it came so far: ${outcome}`);
  });
  await Promise.race([point, ended]);
}

/** Lets the requests go on to WeChat that the proxy holds; resolves when it has minted. */
async function delivered(cluster: Cluster, { toWeChat }: Replica): Promise<void> {
  const { mints } = cluster;
  toWeChat.release();
  await until(SEEN_MS, () => (cluster.mints > mints ? undefined : 'WeChat has minted'));
}

async function restart(cluster: Cluster, position: number): Promise<void> {
  await cluster.add(position);
  cluster.subscribers.move(cluster.addresses);
}

/** Kills the replica once its refresh has come to this point. */
function killed(
  name: string,
  point: (cluster: Cluster, leader: Replica) => Promise<void>,
  costs: Pick<Scenario, 'mints' | 'classicBad'>,
): Scenario {
  return {
    name: `kill -9: ${name}`,
    ...costs,
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
    // The leader finds that it is too late, and never sends them.
    mints: { classic: [1, 2], stable: [0, 0] },
    async act(cluster) {
      const leader = cluster.at(0);
      // The intent is stored, and the leader does not know yet.
      await upTo(cluster, leader, seen(leader.toRedis, INTENT, 'unanswered'));
      leader.child.signal('SIGSTOP');
      leader.toRedis.release();
      await setTimeout(LONG_MS);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'leader stopped after WeChat minted',
    mints: P11,
    classicBad: THREE_MINTS,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'unanswered'));
      leader.child.signal('SIGSTOP');
      leader.toWeChat.release();
      await setTimeout(LONG_MS);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'leader stopped, its request delivered late',
    mints: P11,
    isLate: true,
    classicBad: THREE_MINTS,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'hold'));
      leader.child.signal('SIGSTOP');
      await setTimeout(LONG_MS);
      await delivered(cluster, leader);
      await setTimeout(200);
      leader.child.signal('SIGCONT');
    },
  },
  {
    name: 'request held and delivered late, leader running',
    mints: P11,
    isLate: true,
    classicBad: THREE_MINTS,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'hold'));
      await setTimeout(LONG_MS);
      await delivered(cluster, leader);
    },
  },
  {
    name: 'leader stopped and killed, its request delivered after',
    mints: P11,
    isLate: true,
    classicBad: THREE_MINTS,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'hold'));
      leader.child.signal('SIGSTOP');
      await setTimeout(TIMES.leaseMs * 1.5);
      leader.child.kill();
      await setTimeout(TIMES.leaseMs / 2);
      await delivered(cluster, leader);
      await restart(cluster, 0);
    },
  },
  {
    name: 'answer lost after the mint',
    mints: P11,
    classicBad: THREE_MINTS,
    async act(cluster) {
      const leader = cluster.at(0);
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'unanswered'));
      leader.toWeChat.cut();
      leader.toWeChat.release();
    },
  },
  // Nobody ever learns of it.
  killed(
    'about to store its intent',
    (cluster, leader) => upTo(cluster, leader, seen(leader.toRedis, INTENT, 'drop')),
    {
      mints: NO,
    },
  ),
  killed('intent stored', (cluster, leader) => upTo(cluster, leader, seen(leader.toRedis, INTENT, 'unanswered')), {
    mints: { classic: [1, 2], stable: [0, 0] },
  }),
  killed('request sent', (cluster, leader) => upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'hold')), {
    mints: P11,
    classicBad: THREE_MINTS,
  }),
  killed('answered', (cluster, leader) => upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'unanswered')), {
    mints: P11,
    classicBad: THREE_MINTS,
  }),
  killed('about to commit', (cluster, leader) => upTo(cluster, leader, seen(leader.toRedis, COMMIT, 'drop')), {
    mints: P11,
    classicBad: THREE_MINTS,
  }),
  killed('committed', (cluster, leader) => upTo(cluster, leader, seen(leader.toRedis, COMMIT, 'unanswered')), {
    mints: ONE,
  }),
  killed(
    'published',
    async (cluster, leader) => {
      const newest = Math.max(...cluster.subscribers.generations());
      await cluster.refresh(leader);
      const isThere = () => Math.max(...cluster.subscribers.generations()) > newest;
      await until(SEEN_MS, () => (isThere() ? undefined : 'a subscriber has it'));
    },
    { mints: ONE },
  ),
  {
    // The first thief and the second mint on classic. On stable nothing is to be stolen of a forced refresh, which nobody
    // repeats: they read to find out what came of it, and it is this turn that is stolen.
    name: 'lease stolen again and again',
    // Two late ones, that of the thief who gets through, and one that confirms; one more where a probe finds that the second
    // late one ended the thief's: it is replaced at once, while nobody knows yet what became of the two.
    mints: { classic: [4, 5], stable: [1, 1] },
    isLate: true,
    classicBad: {
      secondsEach: TIMES.probeMs / 1_000 + 1,
      why: 'the two late requests make tokens that nobody has, and the second ends the one that everybody has: a probe finds out',
    },
    async act(cluster) {
      const [leader, ...others] = cluster.replicas as [Replica, ...Replica[]];
      const attempts = others.map(async (thief) => {
        await seen(thief.toWeChat, TOKEN_CALL, 'hold');
        return thief;
      });
      await upTo(cluster, leader, seen(leader.toWeChat, TOKEN_CALL, 'hold'));
      leader.child.signal('SIGSTOP');
      const thief = await Promise.any(attempts);
      thief.child.signal('SIGSTOP');
      for (const other of others) if (other !== thief) other.toWeChat.release();
      await setTimeout(TIMES.leaseMs * 1.5);
      for (const stopped of [leader, thief]) {
        stopped.toWeChat.release();
        stopped.child.signal('SIGCONT');
        await setTimeout(300);
      }
    },
  },
  {
    name: 'Redis killed and restarted empty',
    mints: NO,
    async act(cluster) {
      await cluster.redis.kill();
      await cluster.storeAway();
      await cluster.redis.launch();
      await setTimeout(TIMES.leaseMs);
    },
  },
  {
    name: 'Redis blackholed for long',
    mints: ONE,
    async act(cluster) {
      const ways = cluster.replicas.map(({ toRedis }) => toRedis);
      for (const way of ways) way.rule = () => 'drop';
      await setTimeout(OUTAGE_MS);
      await cluster.storeAway();
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
    mints: ONE,
    // A poll, and one more that may have begun just before.
    behindMs: 2 * TIMES.pollMs + 250,
    async act(cluster) {
      let hints = 0;
      for (const { toRedis } of cluster.replicas) {
        toRedis.rule = (_, direction, { sent }) => {
          if (direction !== 'down' || !/subscribe/i.test(sent)) return 'pass';
          hints++;
          return 'drop';
        };
      }
      await cluster.refresh(cluster.at(0));
      await setTimeout(TIMES.leaseMs);
      if (hints < REPLICAS) throw new Error(`only ${hints} hints were dropped`);
      for (const { toRedis } of cluster.replicas) toRedis.release();
    },
  },
  {
    name: 'rolling restart of all replicas',
    mints: NO,
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
    mints: ONE,
    subscribers: { count: 2_000, first: 0 },
    behindMs: 10_000,
    async act(cluster) {
      cluster.at(0).child.kill();
      await cluster.refresh(cluster.at(1));
      await restart(cluster, 0);
    },
  },
];
