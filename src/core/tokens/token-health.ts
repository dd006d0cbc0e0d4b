import { CLOCKS_AGREE_MS } from '../kernel/clock.ts';
import { LingpaiError, type UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { CurrentToken } from './app-record.ts';
import type { SharedPart, Trouble } from './ports.ts';
import type { RecordChange } from './record-change.ts';
import { type Report, Suspicion } from './suspicion.ts';
import type { Health, Trust } from './view.ts';

/** After so many probes in a row without a verdict there is something to mend. */
const BLIND_AFTER = 3;
/** What to do where WeChat's word on a token does not come through. */
export const PROBE_MUST_PASS =
  'a gateway or firewall in between must pass GET /cgi-bin/get_api_domain_ip, by which the broker asks whether a token works';
/** The longest pause after a failure: where a clock was set, its stored time may be far off. */
const LONGEST_PAUSE_MS = 25 * 3_600_000;

/** WeChat's errcode for a token whose life is over. One that was replaced has another. */
const EXPIRED_ERRCODE = 42001;
const OUTSIDE_MINT =
  'WeChat refused a token before its time and nobody here had replaced it: most likely another program mints with the same AppSecret';

/** The health of an app's current token, and of the calls to WeChat, as this process or another has found it. */
export class TokenHealth {
  health: Health = { kind: 'well' };
  /** By WeChat's own word. */
  #isDead = false;
  /** The current token, where the clock leapt beyond its life: as it is if the clock was only set. */
  doubt: CurrentToken | null = null;
  /** Something that an operator should know although the token is good; empty: nothing. */
  warning = '';
  /** That several probes in a row got no verdict, and what to do; empty: WeChat's word comes through. */
  blindness = '';
  /** Why WeChat does not accept a secret that a reload brought; empty: nothing is known against it. */
  secretFault = '';
  #suspicion: Suspicion | undefined;
  #forceRefusal: { readonly error: UpstreamError; readonly until: number } | undefined;
  #unanswered = 0;
  #failedReads = 0;
  #readRefusal: { readonly error: UpstreamError; readonly until: number } | undefined;

  /** Takes over what all replicas know. `wallNow` is by the clock that they share. */
  learn({ dead, warning, trouble }: SharedPart, timeline: Timeline, wallNow: number): void {
    this.#isDead = dead;
    this.warning = warning;
    this.health = trouble ? toldOf(trouble, timeline, wallNow) : { kind: 'well' };
  }

  /** Whether WeChat accepts the current token, as far as anyone knows. */
  get trust(): Trust {
    return this.#isDead || this.#suspicion?.isBelieved ? 'dead' : 'trusted';
  }

  /** What is reported of the current token, if that is this generation. */
  suspicion(generation: number): Suspicion | undefined {
    return this.#suspicion?.generation === generation ? this.#suspicion : undefined;
  }

  /** Failures in a row. */
  get failures(): number {
    return this.health.kind === 'failing' ? this.health.failures : 0;
  }

  /** Whether a retry is planned that comes between now and a moment. */
  isRetriedBy(moment: number, now: number): boolean {
    return this.health.kind === 'failing' && this.health.retryAt > now && this.health.retryAt <= moment;
  }

  /** A refresh failed that is owed and tried again at `retryAt`. */
  fail(error: UpstreamError | LingpaiError, retryAt: number): void {
    this.health = { kind: 'failing', error, failures: this.failures + 1, retryAt };
  }

  /** The cause of the failures may be gone: what failed is tried at once. */
  retryNow(now: number): void {
    this.#readRefusal = undefined;
    this.#forceRefusal = undefined;
    if (this.health.kind === 'failing') this.health = { ...this.health, failures: 0, retryAt: now };
  }

  /** An answer is in use; `rotation`: it brought a new token. */
  landed(rotation: { readonly isQuiet: boolean } | undefined): void {
    this.doubt = null;
    this.health = { kind: 'well' };
    if (!rotation) return;
    this.replaced();
    this.#isDead = false;
    if (rotation.isQuiet) this.warning = '';
  }

  /** There is another current token, and nothing is known against it. */
  replaced(): void {
    this.doubt = null;
    this.#suspicion = undefined;
    this.#forceRefusal = undefined;
  }

  /** One more report of this generation, which is the current one. */
  report(generation: number, by: Report, now: number): Suspicion {
    this.#suspicion = this.suspicion(generation) ?? new Suspicion(generation, now);
    this.#suspicion.add(by);
    return this.#suspicion;
  }

  /** WeChat accepts the token of a generation. */
  accepted(generation: number): void {
    if (this.suspicion(generation)) this.#suspicion = undefined;
    this.#answered();
  }

  /** A probe got no verdict. Returns whether that begins to be a matter for an operator. */
  unanswered(): boolean {
    if (++this.#unanswered !== BLIND_AFTER) return false;
    this.blindness = `WeChat did not say, ${BLIND_AFTER} times in a row, whether it accepts the token: ${PROBE_MUST_PASS}`;
    return true;
  }

  #answered(): void {
    this.#unanswered = 0;
    this.blindness = '';
  }

  /** A read of the stable endpoint failed. Returns how many did in a row. */
  readFailed(): number {
    return ++this.#failedReads;
  }

  /** WeChat will refuse reads as it did the last one, until a moment. */
  readRefused(error: UpstreamError, until: number): void {
    this.#readRefusal = { error, until };
  }

  /** Whether a read of the stable endpoint may bring anything now. */
  isReadable(now: number): boolean {
    return !this.#readRefusal || now >= this.#readRefusal.until;
  }

  /** Whether WeChat could not be reached a moment ago, or was busy: then it is asked nothing else now. */
  isAway(now: number): boolean {
    return !this.isReadable(now) && this.#readRefusal?.error.recovery.kind === 'backoff';
  }

  /** Whether the last read failed. */
  get isReadFailing(): boolean {
    return this.#failedReads > 0;
  }

  /** A read of the stable endpoint succeeded. */
  wasRead(): void {
    this.#failedReads = 0;
    this.#readRefusal = undefined;
  }

  /** WeChat will not force a new token before a moment. */
  refuseForce(error: UpstreamError, until: number): void {
    if (this.#forceRefusal?.error !== error) this.#forceRefusal = { error, until };
  }

  /** Why a forced refresh is known to be refused now; undefined: it is not. */
  forceRefusal(now: number): UpstreamError | undefined {
    return this.#forceRefusal && now < this.#forceRefusal.until ? this.#forceRefusal.error : undefined;
  }

  /**
   * WeChat refuses the current token. Returns whether someone outside must have replaced it, which then is a warning:
   * `isOrderKnown` says that no mint of our own can have.
   */
  refuse(errcode: number, isOrderKnown: boolean): boolean {
    this.#isDead = true;
    this.#suspicion = undefined;
    this.#answered();
    const isOutside = errcode !== EXPIRED_ERRCODE && isOrderKnown;
    if (isOutside) this.warning = OUTSIDE_MINT;
    return isOutside;
  }

  /** WeChat accepts the token in doubt. Returns the change that restores the life that the clock took from it. */
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

/** A failure that another replica met, as this one takes it. */
export function toldOf(
  { failures, time, retryTime, reason, message, answer }: Trouble,
  timeline: Timeline,
  wallNow: number,
): Extract<Health, { kind: 'failing' }> {
  const error = new LingpaiError(message, { reason, answer: answer ?? undefined });
  const now = timeline.elapsed();
  // The clock was set back since: the stored times say nothing.
  const isTimeless = time > wallNow + CLOCKS_AGREE_MS;
  const retryAt = isTimeless ? now : Math.min(timeline.momentOf(retryTime), now + LONGEST_PAUSE_MS);
  return { kind: 'failing', error, failures, retryAt };
}
