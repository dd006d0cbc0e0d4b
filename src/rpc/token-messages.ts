import { create } from '@bufbuild/protobuf';
import { durationFromMs, type Timestamp, timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Clock } from '../core/kernel/clock.ts';
import type { ForceOutcome, Status, Token, TokenState } from '../core/tokens/state.ts';
import * as pb from '../gen/lingpai/v1/token_pb.js';

/** How old `server_time` of a shared message may be, in milliseconds: the contract's 100. */
const SHARED_FOR_MS = 100;

const STATUSES: Readonly<Record<Status, pb.TokenStatus>> = {
  PENDING: pb.TokenStatus.PENDING,
  FRESH: pb.TokenStatus.FRESH,
  DEGRADED: pb.TokenStatus.DEGRADED,
  EXPIRED: pb.TokenStatus.EXPIRED,
};

const OUTCOMES: Readonly<Record<ForceOutcome, pb.ForceRefreshOutcome>> = {
  REFRESHED: pb.ForceRefreshOutcome.REFRESHED,
  JOINED: pb.ForceRefreshOutcome.JOINED,
  ALREADY_NEWER: pb.ForceRefreshOutcome.ALREADY_NEWER,
  STILL_VALID: pb.ForceRefreshOutcome.STILL_VALID,
};

/** The steps of a goodbye's time: many streams are told the same one, and none returns later than it might. */
const GOAWAY_STEP_MS = 20;

/** The message of one state. */
export function toTokenState(state: TokenState): pb.TokenState {
  return create(pb.TokenStateSchema, {
    appId: state.appId,
    generation: BigInt(state.generation),
    ...(state.current && { current: toToken(state.current) }),
    ...(state.previous && { previous: toToken(state.previous) }),
    status: STATUSES[state.status],
    statusReason: state.statusReason,
    ...(state.nextRefreshTime !== null && { nextRefreshTime: timestamp(state.nextRefreshTime) }),
  });
}

/**
 * Makes the messages of TokenService. Answers to Get, and all that is told on watches, are shared: one frozen object for
 * all callers for up to 100 ms, so that a listener encodes it once and not once per stream.
 */
export class TokenMessages {
  readonly #clock: Clock;
  readonly #states = new WeakMap<TokenState, pb.TokenState>();
  readonly #answers: Shared<TokenState, pb.GetResponse>;
  readonly #events: Shared<TokenState, pb.WatchTokenResponse>;
  readonly #heartbeats: Moment<'now', pb.WatchTokenResponse>;
  readonly #removals: Moment<string, pb.WatchTokenResponse>;
  readonly #goaways: Moment<number, pb.WatchTokenResponse>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#answers = new Shared(clock);
    this.#events = new Shared(clock);
    this.#heartbeats = new Moment(clock);
    this.#removals = new Moment(clock);
    this.#goaways = new Moment(clock);
  }

  /** Get's answer; shared. */
  answer(state: TokenState): pb.GetResponse {
    return this.#answers.get(state) ?? this.#answers.set(state, create(pb.GetResponseSchema, this.#stated(state)));
  }

  /** ForceRefresh's answer. */
  forced(state: TokenState, outcome: ForceOutcome): pb.ForceRefreshResponse {
    return create(pb.ForceRefreshResponseSchema, { ...this.#stated(state), outcome: OUTCOMES[outcome] });
  }

  /** A watch's event with a whole state; shared. */
  state(state: TokenState): pb.WatchTokenResponse {
    return (
      this.#events.get(state) ?? this.#events.set(state, this.#event({ case: 'state', value: this.#state(state) }))
    );
  }

  /** A heartbeat; shared: one that is up to 100 ms old says nothing untrue. `asOf` is in wall-clock milliseconds. */
  heartbeat(asOf: number): pb.WatchTokenResponse {
    return this.#heartbeats.get('now', () =>
      this.#event({ case: 'heartbeat', value: create(pb.HeartbeatSchema, { asOf: timestamp(asOf) }) }),
    );
  }

  /** The event that an app is no longer served; shared. */
  removed(appId: string): pb.WatchTokenResponse {
    return this.#removals.get(appId, () =>
      this.#event({ case: 'removed', value: create(pb.AppRemovedSchema, { appId }) }),
    );
  }

  /** The event before a drained stream ends; shared by those whose times are within the same 20 ms, of which it has the least. */
  goaway(reconnectAfterMs: number): pb.WatchTokenResponse {
    const ms = Math.floor(reconnectAfterMs / GOAWAY_STEP_MS) * GOAWAY_STEP_MS;
    return this.#goaways.get(ms, () =>
      this.#event({ case: 'goaway', value: create(pb.GoawaySchema, { reconnectAfter: durationFromMs(ms) }) }),
    );
  }

  #event(event: pb.WatchTokenResponse['event']): pb.WatchTokenResponse {
    return create(pb.WatchTokenResponseSchema, { event, serverTime: this.#now() });
  }

  #stated(state: TokenState): { state: pb.TokenState; serverTime: Timestamp } {
    return { state: this.#state(state), serverTime: this.#now() };
  }

  #state(state: TokenState): pb.TokenState {
    let message = this.#states.get(state);
    if (!message) {
      message = toTokenState(state);
      this.#states.set(state, message);
    }
    return message;
  }

  #now(): Timestamp {
    return timestamp(this.#clock.now());
  }
}

/** Messages that are handed to everyone for a moment. They are frozen, which tells listeners that bytes may be kept. */
class Shared<Key extends object, Message extends object> {
  readonly #clock: Clock;
  readonly #entries = new WeakMap<Key, { readonly message: Message; readonly madeAt: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: Key): Message | undefined {
    const entry = this.#entries.get(key);
    return entry && this.#clock.monotonic() - entry.madeAt < SHARED_FOR_MS ? entry.message : undefined;
  }

  set(key: Key, message: Message): Message {
    this.#entries.set(key, { message: Object.freeze(message), madeAt: this.#clock.monotonic() });
    return message;
  }
}

/** As `Shared`, by value: what is said at one moment, and is forgotten when the next thing is. */
class Moment<Key, Message extends object> {
  readonly #clock: Clock;
  readonly #messages = new Map<Key, Message>();
  #beganAt = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: Key, make: () => Message): Message {
    const now = this.#clock.monotonic();
    if (now - this.#beganAt >= SHARED_FOR_MS) {
      this.#messages.clear();
      this.#beganAt = now;
    }
    let message = this.#messages.get(key);
    if (!message) {
      message = Object.freeze(make());
      this.#messages.set(key, message);
    }
    return message;
  }
}

function toToken({ value, id, issueTime, expireTime }: Token): pb.Token {
  return create(pb.TokenSchema, {
    value,
    id,
    issueTime: timestamp(issueTime),
    expireTime: timestamp(expireTime),
  });
}

/** Wall-clock times are whole milliseconds, but for what an arithmetic of lifetimes left behind the point. */
export function timestamp(ms: number): Timestamp {
  return timestampFromMs(Math.floor(ms));
}
