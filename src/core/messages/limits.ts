import { abortable } from '../kernel/abortable.ts';
import type { Clock, Timer } from '../kernel/clock.ts';
import type { LingpaiError, UpstreamError, UpstreamReason } from '../kernel/errors.ts';
import { RateLimiter } from '../kernel/rate-limiter.ts';
import { afterFailure, afterMending, afterProbe, type CircuitBreaker, CLOSED, passage } from './circuit-breaker.ts';
import type { MessageEvent } from './events.ts';
import type { Channel } from './message.ts';
import { freedError, noRoomError } from './message-errors.ts';
import type { MessageSettings } from './ports.ts';

/** The right to send one message now. It must be disposed of when the message has ended. */
export interface Turn extends Disposable {
  /**
   * Tells what came of an attempt. `failure` undefined: WeChat took it. `startedAt` is its wall-clock time. Returns for how
   * many milliseconds its messages are refused from now on; undefined: they are not.
   */
  learn(failure: UpstreamError | undefined, startedAt: number): number | undefined;
  /** Why no attempt may be made now: the circuit breaker has opened meanwhile. */
  refusal(): LingpaiError | undefined;
  /** No attempt was made: the rate is not used up. */
  giveBack(): void;
}

/** A channel whose circuit breaker refuses messages; `shut_channels` in the proto. Times are wall-clock milliseconds. */
export interface ShutChannel {
  readonly channel: Channel['kind'];
  /** When WeChat is asked again; null: it is being asked now. */
  readonly until: number | null;
  readonly reason: UpstreamReason;
  /** WeChat's. */
  readonly errcode: number | null;
}

/** What may go at once: what the rate allows in this time, and at least one message. */
const BURST_MS = 100;

/** The part of an app's waiting room that one caller may fill: the rest is for others. */
const CALLERS_SHARE = 0.5;

interface Waiter {
  readonly caller: string | undefined;
  readonly channel: Channel['kind'];
  readonly grant: (turn: Turn) => void;
  readonly refuse: (error: LingpaiError) => void;
}

/** One app's limits: of messages under way, of their rate and of those that wait, and a circuit breaker for each channel. */
export class Limits {
  readonly #clock: Clock;
  readonly #appId: string;
  readonly #settings: MessageSettings;
  readonly #observe: (event: MessageEvent) => void;
  readonly #limiter: RateLimiter;
  readonly #breakers = new Map<Channel['kind'], CircuitBreaker>();
  /** In the order of their coming. */
  readonly #waiting = new Set<Waiter>();
  /** How many wait of each caller that has a name. */
  readonly #waitingOf = new Map<string, number>();
  #underWay = 0;
  #triedAgainAt = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(options: {
    clock: Clock;
    appId: string;
    settings: MessageSettings;
    observe: (event: MessageEvent) => void;
  }) {
    this.#clock = options.clock;
    this.#appId = options.appId;
    this.#settings = options.settings;
    this.#observe = options.observe;
    const { ratePerSecond } = options.settings;
    const everyMs = ratePerSecond > 0 ? 1_000 / ratePerSecond : 0;
    this.#limiter = new RateLimiter({ everyMs, earlyMs: BURST_MS - everyMs });
  }

  /**
   * Resolves when it is the message's turn. Rejects with LingpaiError when the channel's circuit breaker is open, or opens while
   * the message waits, and when as many wait as may, or of the caller alone half as many; with the signal's reason when the
   * caller leaves. `caller` undefined: nobody knows its name.
   */
  enter(channel: Channel['kind'], signal: AbortSignal, caller?: string): Promise<Turn> {
    const refusal = this.#refusal(channel);
    if (refusal) return Promise.reject(refusal);
    if (this.#waiting.size === 0 && this.#roomInMs() === 0) return Promise.resolve(this.#grant(channel));
    if (this.#waiting.size >= this.#settings.maxWaiting) return Promise.reject(this.#noRoom());
    const share = Math.ceil(this.#settings.maxWaiting * CALLERS_SHARE);
    if (caller !== undefined && (this.#waitingOf.get(caller) ?? 0) >= share) return Promise.reject(this.#noRoom(share));
    const { promise, resolve, reject } = Promise.withResolvers<Turn>();
    const waiter: Waiter = { caller, channel, grant: resolve, refuse: reject };
    this.#waiting.add(waiter);
    this.#count(caller, 1);
    this.#pump();
    return abortable(promise, signal, () => {
      // One that has just been let in has a turn to give back.
      const isWaiting = this.#remove(waiter);
      if (isWaiting) this.#pump();
      return isWaiting;
    });
  }

  /** Has the next message of each channel whose circuit breaker is open probe, unless that was done less than `leastMs` ago. */
  tryAgain(leastMs = 0): void {
    const now = this.#clock.monotonic();
    if (now - this.#triedAgainAt < leastMs) return;
    this.#triedAgainAt = now;
    for (const [channel, before] of this.#breakers) {
      const breaker = afterMending(before, this.#clock.now());
      if (breaker === before || this.#refusal(channel) === undefined) continue;
      this.#breakers.set(channel, breaker);
      this.#observe({ type: 'breaker_to_probe', appId: this.#appId, channel });
    }
  }

  /** The channels whose messages are refused now. */
  shutChannels(): ShutChannel[] {
    const now = this.#clock.now();
    return [...this.#breakers].flatMap(([channel, breaker]) => {
      const answer = passage(breaker, now);
      if (answer.kind !== 'refused') return [];
      const { reason, answer: said } = answer.failure;
      return [
        { channel, until: breaker.kind === 'open' ? breaker.until : null, reason, errcode: said?.errcode ?? null },
      ];
    });
  }

  /** Lets in whoever may go, and sees to it that the next are let in when they may. */
  #pump(): void {
    this.#timer?.cancel();
    for (const waiter of this.#waiting) {
      const refusal = this.#refusal(waiter.channel);
      if (refusal) {
        this.#remove(waiter);
        waiter.refuse(refusal);
        continue;
      }
      const delayMs = this.#roomInMs();
      if (delayMs > 0) {
        if (delayMs < Infinity) this.#timer = this.#clock.schedule(delayMs, () => this.#pump());
        return;
      }
      this.#remove(waiter);
      waiter.grant(this.#grant(waiter.channel));
    }
  }

  /** In how many milliseconds one more may go; Infinity: when one ends. */
  #roomInMs(): number {
    if (this.#underWay >= this.#settings.concurrency) return Infinity;
    return this.#limiter.waitMs(this.#clock.monotonic());
  }

  #grant(channel: Channel['kind']): Turn {
    const before = this.#breaker(channel);
    const probes = passage(before, this.#clock.now()).kind === 'probe';
    if (probes && before.kind === 'open') this.#breakers.set(channel, { kind: 'half_open', failure: before.failure });
    this.#underWay++;
    this.#limiter.take(this.#clock.monotonic());
    let judged = false;
    let over = false;
    return {
      learn: (failure, startedAt) => {
        judged ||= failure === undefined || (failure.effect === 'refused' && failure.recovery.kind === 'never');
        if (failure) this.#failed(channel, failure, startedAt);
        return this.#refusal(channel)?.retryAfterMs;
      },
      refusal: () => (probes && this.#breaker(channel).kind === 'half_open' ? undefined : this.#refusal(channel)),
      giveBack: () => this.#limiter.giveBack(),
      [Symbol.dispose]: () => {
        if (over) return;
        over = true;
        this.#underWay--;
        if (probes) this.#probed(channel, judged);
        this.#pump();
      },
    };
  }

  #failed(channel: Channel['kind'], failure: UpstreamError, startedAt: number): void {
    const { quotaResetHour } = this.#settings;
    const before = this.#breaker(channel);
    const wallNow = this.#clock.now();
    const breaker = afterFailure(before, failure, { startedAt, wallNow, quotaResetHour });
    if (breaker === before || breaker.kind !== 'open') return;
    this.#breakers.set(channel, breaker);
    const forMs = breaker.until - wallNow;
    this.#observe({ type: 'breaker_opened', appId: this.#appId, channel, reason: failure.reason, forMs });
    for (const waiter of this.#waiting) {
      const refusal = waiter.channel === channel && this.#refusal(channel);
      if (!refusal) continue;
      this.#remove(waiter);
      waiter.refuse(refusal);
    }
  }

  #probed(channel: Channel['kind'], judged: boolean): void {
    const before = this.#breaker(channel);
    const breaker = afterProbe(before, judged, this.#clock.now());
    this.#breakers.set(channel, breaker);
    if (breaker !== before && breaker.kind === 'closed') {
      this.#observe({ type: 'breaker_closed', appId: this.#appId, channel });
    }
  }

  #breaker(channel: Channel['kind']): CircuitBreaker {
    return this.#breakers.get(channel) ?? CLOSED;
  }

  #refusal(channel: Channel['kind']): LingpaiError | undefined {
    const answer = passage(this.#breaker(channel), this.#clock.now());
    return answer.kind === 'refused' ? freedError(this.#appId, answer.failure, answer.retryAfterMs) : undefined;
  }

  #remove(waiter: Waiter): boolean {
    const wasWaiting = this.#waiting.delete(waiter);
    if (wasWaiting) this.#count(waiter.caller, -1);
    return wasWaiting;
  }

  #count(caller: string | undefined, by: 1 | -1): void {
    if (caller === undefined) return;
    const count = (this.#waitingOf.get(caller) ?? 0) + by;
    if (count > 0) this.#waitingOf.set(caller, count);
    else this.#waitingOf.delete(caller);
  }

  #noRoom(share?: number): LingpaiError {
    const { ratePerSecond, maxWaiting } = this.#settings;
    const queueMs = ratePerSecond > 0 ? (this.#waiting.size / ratePerSecond) * 1_000 : 0;
    const who =
      share === undefined ? `${maxWaiting} messages of the app` : `${share} messages of this caller for the app`;
    return noRoomError(this.#appId, who, queueMs);
  }
}
