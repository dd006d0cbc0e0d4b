import type { ServiceImpl } from '@connectrpc/connect';
import { Access } from '../core/access/access.ts';
import type { AuditedCall } from '../core/access/ports.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { CoalescedTimers } from '../core/kernel/coalesced-timers.ts';
import type { Rejected } from '../core/tokens/rejected.ts';
import type { ForceOutcome, TokenState } from '../core/tokens/state.ts';
import type { Scope } from '../core/tokens/watch-hub.ts';
import type { ForceRefreshRequest, TokenService } from '../gen/lingpai/v1/token_pb.js';
import { callerOf, nameOf, streamControlOf } from '../transport/call.ts';
import { TokenMessages } from './token-messages.ts';
import { validateForceRefresh, validateGet, validateWatchToken } from './validate.ts';
import { WaitingRoom } from './waiting-room.ts';
import { type TokenWatch, WatchStream } from './watch-stream.ts';

/** What came of a report or a refresh. */
export interface Forced {
  readonly state: TokenState;
  readonly outcome: ForceOutcome;
}

/** What TokenService needs of the broker. */
export interface TokenBroker {
  get(appId: string, options: { minGeneration?: number; signal: () => AbortSignal }): TokenState | Promise<TokenState>;
  forceRefresh(appId: string, rejected: Rejected | undefined, signal: AbortSignal): Promise<Forced>;
  watch(options: {
    readonly appIds: readonly string[];
    readonly known: ReadonlyMap<string, number>;
    readonly scope?: Scope | undefined;
  }): TokenWatch;
  /** The scope of a watch has changed. */
  rescope(watch: TokenWatch): void;
}

/** What TokenService is made of. */
export interface TokenServiceDeps {
  readonly broker: TokenBroker;
  readonly clock: Clock;
  /** Who may do what: a caller may lose a right while it waits or watches. Default: everyone may do everything. */
  readonly access?: Access | undefined;
  /** How long a watch may leave one message unread before it is ended. */
  readonly stallTimeoutMs: number;
  /** How many Gets may wait at once, for a first token or for a generation. Default 20,000. */
  readonly maxWaiting?: number;
  /** Told what the broker made of a report or a refresh, or with what it failed; also where the caller may not have the answer. */
  readonly onForced?: (
    call: AuditedCall,
    request: ForceRefreshRequest,
    result: Forced | { readonly error: unknown },
  ) => void;
  /** Told of a refresh that names no token, before it begins: an operator's. */
  readonly onOperator?: (appId: string) => void;
  /** Told how long a rotation took from WeChat's answer until a watch was done with writing it. */
  readonly propagation: (ms: number) => void;
}

/** TokenService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function tokenService({ broker, clock, ...deps }: TokenServiceDeps): ServiceImpl<typeof TokenService> {
  const messages = new TokenMessages(clock);
  const { stallTimeoutMs, propagation } = deps;
  const waiting = new WaitingRoom(clock, 'calls of Get are waiting for a token', deps.maxWaiting);
  const access = deps.access ?? Access.open(clock);
  const stalls = new CoalescedTimers<WatchStream>(clock, stallTimeoutMs, (stream) => stream.stalled(stallTimeoutMs));
  const streamDeps = { clock, messages, stalls, propagation };

  return {
    get(request, context) {
      validateGet(request);
      const { appId } = request;
      return waiting.hold(
        appId,
        context,
        (signal) => broker.get(appId, { minGeneration: Number(request.minGeneration), signal }),
        (state, hasWaited) => {
          if (hasWaited) access.requireStill(callerOf(context), 'read', appId);
          return messages.answer(state);
        },
      );
    },

    async forceRefresh(request, context) {
      validateForceRefresh(request);
      const call = callerOf(context);
      const rejected = rejectedOf(request, nameOf(call));
      const { appId } = request;
      if (!rejected) deps.onOperator?.(appId);
      const forced = await broker.forceRefresh(appId, rejected, context.signal).catch((error: unknown) => {
        deps.onForced?.(call, request, { error });
        throw error;
      });
      // What was done stands, whether its caller may still have it or not.
      deps.onForced?.(call, request, forced);
      const { state, outcome } = forced;
      // Its token is one that another Get would be refused.
      access.requireStill(call, rejected ? 'read' : 'refresh', appId);
      return messages.forced(state, outcome);
    },

    watchToken(request, context) {
      validateWatchToken(request);
      const call = callerOf(context);
      const control = streamControlOf(context);
      const { appIds } = request;
      const sees = (appId: string) => access.may(call, 'read', appId);
      // What a caller says of an app that it may not read counts for nothing.
      const known = new Map<string, number>();
      for (const [appId, generation] of Object.entries(request.knownGenerations))
        if (sees(appId)) known.set(appId, Number(generation));
      const isScoped = !access.isOpen && appIds.length === 0;
      const scope = isScoped ? { sees, seesAll: () => access.mayAll(call, 'read') } : undefined;
      const watch = broker.watch({ appIds, known, scope });
      if (isScoped) {
        const followed = access.follow(call, { check: () => broker.rescope(watch), end() {} });
        control.onClose(() => followed[Symbol.dispose]());
      }
      return new WatchStream(watch, control, streamDeps);
    },
  };
}

function rejectedOf({ rejected }: ForceRefreshRequest, reporter: string | undefined): Rejected | undefined {
  switch (rejected.case) {
    case 'rejectedToken':
      return { kind: 'token', token: rejected.value, reporter };
    case 'rejectedGeneration':
      return { kind: 'generation', generation: Number(rejected.value), reporter };
    case undefined:
      return undefined;
  }
}
