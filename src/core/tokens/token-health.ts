import { CLOCKS_AGREE_MS } from '../kernel/clock.ts';
import { LingpaiError, type UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { CurrentToken } from './app-record.ts';
import type { RefreshCause } from './events.ts';
import type { SharedPart, Trouble } from './ports.ts';
import type { RecordChange } from './record-change.ts';
import type { Health, Trust } from './view.ts';

/** What WeChat said of a generation when a report or the canary last asked. Not asked again before `until`. */
interface Opinion {
  readonly generation: number;
  readonly until: number;
  /** Why it could not be asked; undefined: it accepts the token. */
  readonly failure: LingpaiError | undefined;
}

/** How long WeChat's word on a token is good. */
export const OPINION_HOLDS_MS = 2_000;
/** No failure is waited out for longer, whatever a clock that was set makes of its time. */
const LONGEST_PAUSE_MS = 25 * 3_600_000;

/** WeChat's word for a token whose own time is over, rather than one that was replaced. */
const EXPIRED_ERRCODE = 42001;
const OUTSIDE_MINT =
  'WeChat refused a token before its time and nobody here had replaced it: most likely another program mints with the same AppSecret';

/** What is thought of an app's current token, and of the way to WeChat, by this process or by another that has told it. */
export class TokenHealth {
  health: Health = { kind: 'well' };
  trust: Trust = 'trusted';
  /** The current token as it is if the clock that leapt beyond its life was only set. */
  doubt: CurrentToken | null = null;
  /** Something that an operator should know although the token is good; empty: nothing. */
  warning = '';
  #opinion: Opinion | undefined;

  /** Takes over what all replicas know. `wallNow` is by the clock that they share. */
  learn({ dead, warning, trouble }: SharedPart, timeline: Timeline, wallNow: number): void {
    this.trust = dead ? 'dead' : 'trusted';
    this.warning = warning;
    this.health = trouble ? toldOf(trouble, timeline, wallNow) : { kind: 'well' };
  }

  /** Failures in a row. */
  get failures(): number {
    return this.health.kind === 'failing' ? this.health.failures : 0;
  }

  /** A refresh failed that is owed and tried again at `retryAt`. Returns whether that says anything new. */
  fail(error: UpstreamError | LingpaiError, retryAt: number, now: number): boolean {
    // What a caller was refused for its haste says nothing of WeChat: a retry that is planned sooner stays.
    const plannedAt = this.health.kind === 'failing' ? this.health.retryAt : now;
    if (error.reason === 'COOLDOWN' && plannedAt > now && plannedAt <= retryAt) return false;
    this.health = { kind: 'failing', error, failures: this.failures + 1, retryAt };
    return true;
  }

  /** What failed until now has changed: it is tried at once. */
  retryNow(now: number): void {
    if (this.health.kind === 'failing') this.health = { ...this.health, failures: 0, retryAt: now };
  }

  /** An answer is in use; `cause`: it brought a new token to a flight of this cause. */
  landed(cause: RefreshCause | undefined): void {
    this.doubt = null;
    this.health = { kind: 'well' };
    if (cause) this.trust = 'trusted';
    // What a probe found stays told until a token comes that no probe had asked for.
    if (cause === 'scheduled' || cause === 'operator') this.warning = '';
  }

  /** WeChat was asked about a generation, or could not be. */
  ask(generation: number, now: number, failure?: LingpaiError): void {
    this.#opinion = { generation, until: now + OPINION_HOLDS_MS, failure };
  }

  /**
   * WeChat refuses the current token. Returns whether someone outside must have replaced it, which then is a warning:
   * `isOrderKnown` says that no mint of our own can have.
   */
  refuse(errcode: number, isOrderKnown: boolean): boolean {
    this.trust = 'dead';
    const isOutside = errcode !== EXPIRED_ERRCODE && isOrderKnown;
    if (isOutside) this.warning = OUTSIDE_MINT;
    return isOutside;
  }

  /** Whether WeChat said a moment ago that it accepts the generation; throws when it could not be asked a moment ago. */
  isAccepted(generation: number, now: number): boolean {
    const opinion = this.#opinion;
    const holds = opinion?.generation === generation && now < opinion.until;
    if (holds && opinion.failure) throw opinion.failure;
    return holds && this.trust === 'trusted';
  }

  /** WeChat accepts the token of this generation that was in doubt. Returns the change that gives it back what the clock took. */
  redeem(doubt: CurrentToken, generation: number): RecordChange {
    this.doubt = null;
    this.health = { kind: 'well' };
    return { type: 'redeem', generation, token: doubt };
  }
}

/** Whether what all replicas know of the token, or of the way to WeChat, has changed. */
export function isNews(shared: SharedPart, before: SharedPart | undefined): boolean {
  const { dead, warning, trouble } = shared;
  if (dead !== before?.dead || warning !== before.warning) return true;
  return JSON.stringify(trouble) !== JSON.stringify(before.trouble);
}

function toldOf(
  { failures, time, retryTime, reason, message, answer }: Trouble,
  timeline: Timeline,
  wallNow: number,
): Health {
  const error = new LingpaiError(message, { reason, answer: answer ?? undefined });
  const now = timeline.elapsed();
  // By a clock that was set back since, nobody knows when.
  const isTimeless = time > wallNow + CLOCKS_AGREE_MS;
  const retryAt = isTimeless ? now : Math.min(timeline.momentOf(retryTime), now + LONGEST_PAUSE_MS);
  return { kind: 'failing', error, failures, retryAt };
}
