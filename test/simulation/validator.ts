import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import type { Bounds } from './bounds.ts';
import { Facts } from './facts.ts';
import type { Dated } from './history.ts';
import { Crack } from './rules/crack.ts';
import { DeadToken } from './rules/dead-token.ts';
import { DebtPaidByOverlappedMint, DebtUnpaid } from './rules/debts.ts';
import { ExpiredServed } from './rules/expired-served.ts';
import { GenerationFell, GenerationTwoValues } from './rules/generations.ts';
import { TooManyMints, TwoMintsAtOnce } from './rules/mints.ts';
import { NeverConverged } from './rules/never-converged.ts';
import { PreviousDead } from './rules/previous-dead.ts';
import type { Evidence, Rule } from './rules/rule.ts';
import { StaleReplica } from './rules/stale-replica.ts';
import { TokenWithheld } from './rules/token-withheld.ts';

/** What can be wrong with a history, and the promise of docs/architecture.md that is broken then. */
export const RULES = {
  'dead-token': 'P11',
  'previous-dead': 'P5',
  'expired-served': 'P5',
  'token-withheld': 'P5',
  'never-converged': 'P11',
  'generation-fell': 'P2',
  'generation-two-values': 'P2',
  'stale-replica': 'P4',
  'too-many-mints': 'P11',
  'two-mints-at-once': 'P6',
  'debt-unpaid': 'P11',
  'debt-paid-by-overlapped-mint': 'P11',
  crack: 'P3',
} as const;

/** The name of a violation. */
export type RuleName = keyof typeof RULES;

/** A rule that was broken. */
export interface Violation {
  readonly rule: RuleName;
  /** In milliseconds since the simulation began. */
  readonly at: number;
  readonly what: string;
}

const TICK_MS = 1_000;

/** What a validator needs to know of a history before it begins. */
export interface Setting {
  readonly hosts: number;
  readonly issuers: ReadonlyMap<string, IssuerKind>;
  readonly bounds: Bounds;
  /** Wall time of the beginning, in milliseconds since 1970. */
  readonly epochTime: number;
  /** The least time between two scheduled mints of an app, in milliseconds. */
  readonly scheduleMs: number;
}

/** Watches a history go by, and says which rules it breaks. */
export class Validator {
  readonly violations: Violation[] = [];
  readonly #facts: Facts;
  readonly #rules: readonly Rule[];
  readonly #deadToken: DeadToken;
  #now = 0;

  constructor({ hosts, issuers, bounds, epochTime, scheduleMs }: Setting) {
    const facts = new Facts(hosts, issuers, epochTime);
    this.#facts = facts;
    const evidence = (rule: RuleName): Evidence => {
      return { facts, bounds, broken: (what) => this.violations.push({ rule, at: this.#now, what }) };
    };
    this.#deadToken = new DeadToken(evidence('dead-token'));
    const rules: Record<RuleName, Rule> = {
      'dead-token': this.#deadToken,
      'previous-dead': new PreviousDead(evidence('previous-dead')),
      'expired-served': new ExpiredServed(evidence('expired-served')),
      'token-withheld': new TokenWithheld(evidence('token-withheld')),
      'never-converged': new NeverConverged(evidence('never-converged')),
      'generation-fell': new GenerationFell(evidence('generation-fell')),
      'generation-two-values': new GenerationTwoValues(evidence('generation-two-values')),
      'stale-replica': new StaleReplica(evidence('stale-replica')),
      'too-many-mints': new TooManyMints(evidence('too-many-mints'), scheduleMs),
      'two-mints-at-once': new TwoMintsAtOnce(evidence('two-mints-at-once')),
      'debt-unpaid': new DebtUnpaid(evidence('debt-unpaid')),
      'debt-paid-by-overlapped-mint': new DebtPaidByOverlappedMint(evidence('debt-paid-by-overlapped-mint')),
      crack: new Crack(evidence('crack')),
    };
    this.#rules = Object.values(rules);
  }

  /** Takes what happened next; `at` never falls. */
  take(event: Dated): void {
    this.advance(event.at);
    this.#facts.take(event);
    for (const rule of this.#rules) rule.take?.(event);
  }

  /** Time passes without anything happening. */
  advance(to: number): void {
    for (let tick = (Math.floor(this.#now / TICK_MS) + 1) * TICK_MS; tick <= to; tick += TICK_MS) {
      this.#now = tick;
      for (const rule of this.#rules) rule.tick?.(tick);
    }
    this.#now = to;
  }

  /** Over all subscribers, for how long their current tokens were ones that WeChat refuses, in milliseconds. */
  get badMs(): Readonly<Record<IssuerKind, number>> {
    return this.#deadToken.badMs(this.#now);
  }
}
