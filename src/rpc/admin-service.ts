import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { Access } from '../core/access/access.ts';
import { type KnownCaller, keyOf } from '../core/access/known-callers.ts';
import type { Method } from '../core/access/principal.ts';
import type { AppShare, ClusterStatus, IntentStatus } from '../core/cluster/status.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { Reason } from '../core/kernel/errors.ts';
import type { ShutChannel } from '../core/messages/sender.ts';
import type { Status, TokenState } from '../core/tokens/state.ts';
import * as pb from '../gen/lingpai/v1/admin_pb.js';
import { callerOf } from '../transport/call.ts';
import { timestamp } from './token-messages.ts';
import { STATUS_PAGE, validateGetStatus, validateListCallers } from './validate.ts';

/** What AdminService needs of the broker. */
export interface AdminBroker {
  /** The state of every configured app. */
  states(): Iterable<TokenState>;
  /** Throws APP_NOT_FOUND unless the app is configured. */
  requireApp(appId: string): void;
}

/** A part of a new token's way, and how long tokens took for it, in milliseconds. */
export interface HopSummary {
  readonly count: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const HOPS = {
  store: pb.PropagationHop.STORE,
  replica: pb.PropagationHop.REPLICA,
  stream: pb.PropagationHop.STREAM,
} as const;

/** How long new tokens took so far, by hop. */
export type Propagation = Readonly<Record<keyof typeof HOPS, HopSummary>>;

const STATUSES: Readonly<Record<Status, pb.AppTokenStatus>> = {
  PENDING: pb.AppTokenStatus.PENDING,
  FRESH: pb.AppTokenStatus.FRESH,
  DEGRADED: pb.AppTokenStatus.DEGRADED,
  EXPIRED: pb.AppTokenStatus.EXPIRED,
};

const KINDS: Readonly<Record<IntentStatus['kind'], pb.IntentKind>> = {
  lease: pb.IntentKind.LEASE,
  open: pb.IntentKind.OPEN,
};

/** What AdminService is made of. */
export interface AdminServiceDeps {
  readonly broker: AdminBroker;
  /** How this replica sees its cluster; undefined: it is not one of several. */
  readonly cluster: () => ClusterStatus | undefined;
  /** The clock by which the broker's tokens age. */
  readonly clock: Clock;
  /** Who may see what, and who calls. Default: everyone may see everything, and nobody is known. */
  readonly access?: Access | undefined;
  readonly propagation: () => Propagation;
  /** The channels of an app whose messages are refused at once. */
  readonly shutChannels: (appId: string) => readonly ShutChannel[];
  /** Resolves when other callers have had their turn: a page of 500 apps takes as long as a hundred Gets. */
  readonly pause: () => Promise<void>;
}

/** AdminService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function adminService(deps: AdminServiceDeps): ServiceImpl<typeof pb.AdminService> {
  const { broker, clock, propagation, shutChannels, pause } = deps;
  const access = deps.access ?? Access.open(clock);
  return {
    async getStatus(request, context) {
      validateGetStatus(request);
      await pause();
      context.signal.throwIfAborted();
      const call = callerOf(context);
      const seesAll = access.mayAll(call, 'status');
      const named = new Set(request.appIds);
      for (const appId of named) broker.requireApp(appId);
      const chosen = [...broker.states()]
        .filter(({ appId }) => (named.size > 0 ? named.has(appId) : appId > request.pageToken))
        .filter(({ appId }) => seesAll || access.may(call, 'status', appId))
        .sort((a, b) => (a.appId < b.appId ? -1 : 1));
      const page = chosen.slice(0, STATUS_PAGE);
      const cluster = deps.cluster();
      const shares = new Map(cluster?.apps.map((share) => [share.appId, share]));
      return create(pb.GetStatusResponseSchema, {
        ...(cluster && seesAll && { cluster: toCluster(cluster) }),
        apps: page.map((state) => toApp(state, shares.get(state.appId), shutChannels(state.appId))),
        nextPageToken: chosen.length > page.length ? (page.at(-1)?.appId ?? '') : '',
        serverTime: timestamp(clock.now()),
        propagation: seesAll ? toHops(propagation()) : [],
      });
    },

    async listCallers(request, context) {
      validateListCallers(request);
      await pause();
      context.signal.throwIfAborted();
      const rest = access.callers().filter(({ principal }) => keyOf(principal) > request.pageToken);
      const page = pageOf(rest);
      const last = page.at(-1);
      return create(pb.ListCallersResponseSchema, {
        callers: page.map(toCaller),
        nextPageToken: last && rest.length > page.length ? keyOf(last.principal) : '',
        serverTime: timestamp(clock.now()),
      });
    },
  };
}

/** How many callers one ListCallers tells of, and how many characters their names may have in all; the first is always in it. */
const CALLERS_PAGE = 1_000;
const CALLERS_PAGE_LENGTH = 200_000;

function pageOf(callers: readonly KnownCaller[]): readonly KnownCaller[] {
  let left = CALLERS_PAGE_LENGTH;
  const end = callers.findIndex(({ principal }, index) => {
    left -= principal.name.length;
    return index === CALLERS_PAGE || (left < 0 && index > 0);
  });
  return end < 0 ? callers : callers.slice(0, end);
}

const METHODS: Readonly<Record<Method, pb.CallerMethod>> = {
  local: pb.CallerMethod.LOCAL,
  key: pb.CallerMethod.KEY,
  certificate: pb.CallerMethod.CERTIFICATE,
  token: pb.CallerMethod.TOKEN,
};

function toCaller({ principal, lastUseTime, openStreams }: KnownCaller): MessageInitShape<typeof pb.CallerSchema> {
  const { name, credentialId, method, expireTime } = principal;
  return {
    name,
    credentialId: credentialId ?? '',
    method: METHODS[method],
    lastUseTime: timestamp(lastUseTime),
    openStreams,
    ...(expireTime !== null && { expireTime: timestamp(expireTime) }),
  };
}

function toCluster(cluster: ClusterStatus): MessageInitShape<typeof pb.ClusterStatusSchema> {
  return {
    replica: cluster.replica,
    storeAvailable: cluster.storeAvailable,
    storeAge: duration(cluster.storeAgeMs),
    storeTrouble: cluster.storeTrouble,
    replicas: cluster.replicas.map(({ replica: name, address, self, alive, silentMs }) => ({
      name,
      address,
      self,
      alive,
      silentFor: duration(silentMs),
    })),
    lostSets: BigInt(cluster.lostSets),
  };
}

function toHops(propagation: Propagation): MessageInitShape<typeof pb.HopStatusSchema>[] {
  return Object.entries(HOPS)
    .map(([name, hop]) => ({ hop, ...propagation[name as keyof typeof HOPS] }))
    .filter(({ count }) => count > 0)
    .map(({ hop, count, medianMs, p99Ms, maxMs }) => ({
      hop,
      count: BigInt(count),
      median: atMost(medianMs),
      p99: atMost(p99Ms),
      max: atMost(maxMs),
    }));
}

/** Field by field, so that no token's value comes with it. */
function toApp(
  state: TokenState,
  share: AppShare | undefined,
  shutChannels: readonly ShutChannel[],
): MessageInitShape<typeof pb.AppStatusSchema> {
  const { appId, generation, current, status, statusReason, nextRefreshTime } = state;
  return {
    appId,
    generation: BigInt(generation),
    ...(current && { tokenId: current.id, expireTime: timestamp(current.expireTime) }),
    status: STATUSES[status],
    statusReason,
    ...(nextRefreshTime !== null && { nextRefreshTime: timestamp(nextRefreshTime) }),
    ...(share && { share: toShare(share) }),
    shutChannels: shutChannels.map(toShutChannel),
  };
}

/** Why messages are refused at once. WeChat's own words are in the errors and the log: of 500 apps they would be too many. */
const SHUT_BY: Partial<Record<Reason, string>> = {
  DAILY_QUOTA_EXHAUSTED: "WeChat's quota of messages for the day is spent",
  MINUTE_QUOTA_EXHAUSTED: "WeChat's quota of messages for the minute is spent",
  ACCOUNT_CLOSED: 'the account or the interface is closed',
  INTERFACE_NOT_GRANTED: 'the account may not call the interface',
};

function toShutChannel({
  channel,
  until,
  reason,
  errcode,
}: ShutChannel): MessageInitShape<typeof pb.ShutChannelSchema> {
  return {
    channel,
    ...(until !== null && { until: timestamp(until) }),
    reason,
    description: `${SHUT_BY[reason] ?? 'WeChat refuses them'}${errcode === null ? '' : ` (errcode ${errcode})`}`,
  };
}

function toShare(share: AppShare): MessageInitShape<typeof pb.AppShareSchema> {
  const { owner, epoch, intents, owedTime, unsaved } = share;
  return {
    owner,
    epoch: BigInt(epoch),
    intents: intents.map((intent) => ({
      replica: intent.replica,
      epoch: BigInt(intent.epoch),
      age: duration(intent.ageMs),
      kind: KINDS[intent.kind],
    })),
    ...(owedTime !== null && { owedTime: timestamp(owedTime) }),
    unsaved,
  };
}

function atMost(ms: number) {
  return durationFromMs(Math.ceil(ms));
}

function duration(ms: number) {
  return durationFromMs(Math.round(ms));
}
