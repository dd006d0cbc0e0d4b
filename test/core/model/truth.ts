import type { Grant, IssuerKind } from '../../../src/core/tokens/ports.ts';
import type { World } from '../../support/world.ts';

/** What is really so of a token, whatever the broker believes. Times are WeChat's. */
export interface Fact {
  readonly appId: string;
  readonly issuer: IssuerKind;
  readonly id: string;
  readonly issuedAt: number;
  readonly endsAt: number;
  /** How far the broker's clock had been set forward, in all, when it asked for the token. */
  readonly forwardMs: number;
  /** For how long the machine had slept, in all, when the broker got the token. */
  readonly asleepMs: number;
  /**
   * By how much the broker may take the token for younger than it is: its clock was set back while nobody watched, or
   * WeChat accepted the token when the clock could no longer say how old it was.
   */
  flatteredMs: number;
  /** Somebody outside killed or displaced it, or a lost record hides what the broker itself did to it. */
  disturbed: boolean;
}

/** A life is counted in whole seconds, and answers of less than 2 s difference are one. */
const ROUNDING_MS = 3_000;
/** How long a refresh may take that asks WeChat about a token. */
const DOUBT_MS = 30_000;

/** What an observer knows who sees both clocks and WeChat. */
export class Truth {
  readonly #world: World;
  readonly #facts = new Map<string, Fact>();
  /** When the tokens of an app and issuer were last disturbed. */
  readonly #disturbedAt = new Map<string, number>();
  /** How far the broker's clock was ever set forward, in all. */
  forwardMs = 0;
  /** For how long the machine ever slept, in all. */
  asleepMs = 0;
  #unseen = false;
  #seenAt = Number.NEGATIVE_INFINITY;

  constructor(world: World) {
    this.#world = world;
  }

  /** The clock moved and the broker has had no call and no sweep since. */
  get unseen(): boolean {
    return this.#unseen;
  }

  /** The clock moves, or the machine sleeps. */
  leap(how: 'jump' | 'sleep', ms: number): void {
    this.#unseen = true;
    if (how === 'sleep') this.asleepMs += ms;
    else this.forwardMs += Math.max(0, ms);
  }

  /** The broker has a call or a sweep, and so sees how late it is. */
  see(): void {
    if (this.#unseen) this.#seenAt = this.#world.clock.monotonic();
    this.#unseen = false;
  }

  /** The broker may still be asking WeChat about the tokens of which a leap made it unsure. */
  get unsure(): boolean {
    return this.#unseen || this.#world.clock.monotonic() - this.#seenAt < DOUBT_MS;
  }

  now(): number {
    return this.#world.clock.outside.now();
  }

  /** How far the broker's wall clock is ahead of WeChat's. */
  offset(): number {
    return this.#world.clock.now() - this.now();
  }

  fact(value: string): Fact | undefined {
    return this.#facts.get(value);
  }

  /** Takes note of a token that WeChat handed to the broker; `forwardMs` as it was when the broker asked. */
  issued(appId: string, value: string, id: string, forwardMs: number): void {
    if (this.#facts.has(value)) return;
    const token = this.#world.wechat.tokens(appId).find((each) => each.id === id);
    if (!token) return;
    const { issuer, issuedAt, endsAt } = token;
    const { asleepMs } = this;
    // It may have been on its way then.
    const disturbed = issuedAt <= (this.#disturbedAt.get(appId + issuer) ?? Number.NEGATIVE_INFINITY);
    this.#facts.set(value, { appId, issuer, id, issuedAt, endsAt, forwardMs, asleepMs, flatteredMs: 0, disturbed });
  }

  /** A read's answer with this token, while WeChat honours it and for its whole seconds. */
  grant(value: string): Grant | undefined {
    const fact = this.#facts.get(value);
    if (fact?.issuer !== 'stable' || !this.honoured(fact.appId, value)) return undefined;
    const seconds = Math.floor((fact.endsAt - this.now()) / 1000);
    return seconds > 0 ? { value, id: fact.id, lifetimeMs: seconds * 1000 } : undefined;
  }

  /** From now on nothing is expected of the app's tokens beyond their own end. */
  disturb(appId: string, ...issuers: IssuerKind[]): void {
    for (const issuer of issuers) this.#disturbedAt.set(appId + issuer, this.now());
    for (const fact of this.#facts.values()) {
      if (fact.appId === appId && issuers.includes(fact.issuer)) fact.disturbed = true;
    }
  }

  /** The broker may take the app's tokens for this much younger than they are. */
  flatter(appId: string, ms: number): void {
    for (const fact of this.#facts.values()) if (fact.appId === appId) fact.flatteredMs += ms;
  }

  /** WeChat accepted the token. */
  accepted(value: string): void {
    const fact = this.#facts.get(value);
    if (fact && !this.#careful(fact)) fact.flatteredMs = Math.max(fact.flatteredMs, this.asleepMs - fact.asleepMs);
  }

  honoured(appId: string, value: string): boolean {
    return this.#world.wechat.honours(appId, value);
  }

  /** Whether the token's own time is over, however careful the broker was. */
  over(value: string): boolean {
    const fact = this.#facts.get(value);
    // Stored times are whole milliseconds.
    return fact !== undefined && this.now() > fact.endsAt + fact.flatteredMs + 1;
  }

  /** Whether a careful broker may not doubt that the token lives, and it does. */
  surelyGood(value: string): boolean {
    const fact = this.#facts.get(value);
    return fact !== undefined && !this.unseen && this.#careful(fact) && this.honoured(fact.appId, value);
  }

  /** Whether the token lives by the most careful reckoning. */
  #careful(fact: Fact): boolean {
    return this.now() + this.forwardMs - fact.forwardMs + ROUNDING_MS < fact.endsAt;
  }
}
