import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import type { Rejected } from '../core/broker.ts';
import type { Clock, Timer } from '../core/clock.ts';
import { LingpaiError } from '../core/errors.ts';
import type { ForceOutcome, TokenState } from '../core/state.ts';
import type { WatchEvent } from '../core/watch.ts';
import type { ForceRefreshRequest, TokenService, WatchTokenResponse } from '../gen/lingpai/v1/token_pb.js';
import { Messages } from './messages.ts';
import { streamControlOf } from './stream-control.ts';
import { validateForceRefresh, validateGet, validateWatchToken } from './validate.ts';

/** What TokenService needs of the broker. */
export interface TokenBroker {
  get(appId: string, options: { minGeneration?: number; signal: () => AbortSignal }): TokenState | Promise<TokenState>;
  forceRefresh(
    appId: string,
    rejected: Rejected | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly state: TokenState; readonly outcome: ForceOutcome }>;
  watch(options: { appIds: readonly string[]; known: ReadonlyMap<string, number> }): TokenWatch;
}

/** What TokenService needs of a watch. */
export interface TokenWatch extends Disposable {
  next(): Promise<WatchEvent | undefined>;
}

/** What TokenService is made of. */
export interface TokenServiceDeps {
  readonly broker: TokenBroker;
  readonly clock: Clock;
  /** How long a watch may leave one message unread before it is ended. */
  readonly stallTimeoutMs: number;
  /** Told how long a rotation took from WeChat's answer until a watch was done with writing it. */
  readonly propagation: (ms: number) => void;
}

/** The longest that Get waits, whatever the caller's deadline. */
const GET_TIMEOUT_MS = 60_000;

/** TokenService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function tokenService({ broker, clock, ...deps }: TokenServiceDeps): ServiceImpl<typeof TokenService> {
  const messages = new Messages(clock);
  return {
    get(request, context) {
      validateGet(request);
      const { appId } = request;
      // A call that need not wait is not to pay for a signal.
      let wait: Wait | undefined;
      const signal = () => {
        wait ??= waitAtMost(GET_TIMEOUT_MS, clock, context.signal, () => notReached(appId));
        return wait.signal;
      };
      const state = broker.get(appId, { minGeneration: Number(request.minGeneration), signal });
      if (!(state instanceof Promise)) return messages.answer(state);
      return state
        .then((reached) => messages.answer(reached))
        .catch((error: unknown) => {
          throw isDeadline(error) ? notReached(appId) : error;
        })
        .finally(() => wait?.[Symbol.dispose]());
    },

    async forceRefresh(request, context) {
      validateForceRefresh(request);
      const { state, outcome } = await broker.forceRefresh(request.appId, rejectedOf(request), context.signal);
      return messages.forced(state, outcome);
    },

    async *watchToken(request, context) {
      validateWatchToken(request);
      const control = streamControlOf(context);
      const known = new Map(Object.entries(request.knownGenerations).map(([id, known]) => [id, Number(known)]));
      const watch = broker.watch({ appIds: request.appIds, known });
      const rotations = new Rotations(clock, deps.propagation);
      let stall: Timer | undefined;
      const release = () => {
        stall?.cancel();
        watch[Symbol.dispose]();
      };
      // While it is suspended at `yield`, a generator learns neither that its caller left nor that time passes.
      control.onClose(release);
      const onStall = () => {
        release();
        control.end(stalled(deps.stallTimeoutMs));
      };
      try {
        for (let event = await watch.next(); event; event = await watch.next()) {
          stall = clock.schedule(deps.stallTimeoutMs, onStall);
          yield toMessage(messages, event);
          stall.cancel();
          if (event.type === 'state') rotations.written(event.state);
        }
      } finally {
        release();
      }
    },
  };
}

/** Measures how long rotations take to reach one watch. */
class Rotations {
  readonly #clock: Clock;
  readonly #propagation: (ms: number) => void;
  readonly #openedAt: number;
  #written: Map<string, number> | undefined;

  constructor(clock: Clock, propagation: (ms: number) => void) {
    this.#clock = clock;
    this.#propagation = propagation;
    this.#openedAt = clock.monotonic();
  }

  /** A state was written. What was there before the watch was opened is no rotation, nor is a generation's second state. */
  written({ appId, generation, current, answeredAt }: TokenState): void {
    if (!current || answeredAt < this.#openedAt || this.#written?.get(appId) === generation) return;
    this.#written ??= new Map();
    this.#written.set(appId, generation);
    this.#propagation(this.#clock.monotonic() - answeredAt);
  }
}

function toMessage(messages: Messages, event: WatchEvent): WatchTokenResponse {
  switch (event.type) {
    case 'state':
      return messages.state(event.state);
    case 'heartbeat':
      return messages.heartbeat(event.asOf);
    case 'removed':
      return messages.removed(event.appId);
    case 'goaway':
      return messages.goaway(event.reconnectAfterMs);
  }
}

function rejectedOf({ rejected }: ForceRefreshRequest): Rejected | undefined {
  switch (rejected.case) {
    case 'rejectedToken':
      return { kind: 'token', token: rejected.value };
    case 'rejectedGeneration':
      return { kind: 'generation', generation: Number(rejected.value) };
    case undefined:
      return undefined;
  }
}

interface Wait extends Disposable {
  readonly signal: AbortSignal;
}

/** A signal that aborts with the caller's, or after `timeoutMs` with `reason()`. */
function waitAtMost(timeoutMs: number, clock: Clock, caller: AbortSignal, reason: () => unknown): Wait {
  const limit = new AbortController();
  const timer = clock.schedule(timeoutMs, () => limit.abort(reason()));
  return { signal: AbortSignal.any([caller, limit.signal]), [Symbol.dispose]: () => timer.cancel() };
}

function isDeadline(error: unknown): boolean {
  return error instanceof ConnectError && error.code === Code.DeadlineExceeded;
}

function notReached(appId: string): LingpaiError {
  const message = 'what was asked for did not come in time: repeat the call, or allow it more time';
  return new LingpaiError(message, { reason: 'GENERATION_NOT_REACHED', appId });
}

function stalled(timeoutMs: number): LingpaiError {
  const message = `this watch was not read for ${timeoutMs / 1000} s: reconnect, with what you know in known_generations`;
  return new LingpaiError(message, { reason: 'WATCHER_STALLED', retryAfterMs: 0 });
}
