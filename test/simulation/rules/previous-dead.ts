import type { Cause } from '../facts.ts';
import type { Dated, Told } from '../history.ts';
import { allowedUntil, isHidden } from './allowed.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

/** A replica shows a previous token that WeChat refuses, for longer than is unavoidable. */
export class PreviousDead implements Rule {
  readonly #evidence: Evidence;
  readonly #published = new LastTold<Told & { readonly host: number }>();
  readonly #known = new Set<string>();
  /** Tokens that were in the store. */
  readonly #recorded = new Set<string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'record' && event.current !== null) this.#recorded.add(event.current);
    if (event.type !== 'published') return;
    const before = this.#published.get(event.host, event.app);
    this.#published.put(event.host, event, before?.event.previous === event.previous ? before.at : event.at);
  }

  tick(now: number): void {
    const { facts, bounds, broken } = this.#evidence;
    for (const { event, at } of this.#published.values()) {
      const { app, host, previous } = event;
      if (previous === null || !facts.isDead(previous, now) || facts.host(host).bad.has('down')) continue;
      const token = facts.mint(previous);
      const issuer = facts.issuers.get(app);
      // Limits P5: nobody asks WeChat about a previous token, and its grace ends by itself.
      const causes = [token?.killer, token?.successor].filter((cause) => cause !== undefined);
      if (!token || !issuer) continue;
      if (causes.some((cause) => this.#isUnheard(cause, host) || isHidden(this.#evidence, issuer, cause))) continue;
      const since = Math.max(token.diesAt, at);
      // Limits P5: other replicas tell of what replaced it, never WeChat: as with classic, a replica needs the store.
      const until = allowedUntil(this.#evidence, { host, issuer: 'classic', token, since }, now);
      // Limits P13 and P5: how old it is a clock that was set has blurred, or a store that went back has lost: then it ends with its grace.
      const isAgeLost = Math.max(facts.clockSetAt, facts.rolledBackAt(app)) >= token.at;
      if (now <= until + (isAgeLost ? bounds.overlapMs : 0)) continue;
      const key = `${host} ${previous}`;
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      const seconds = Math.round((now - token.diesAt) / 1000);
      broken(`host ${host} shows ${previous} of ${app} as previous, dead for ${seconds} s`);
    }
  }

  /** Whether a read made WeChat mint, and its answer reached neither this host nor the store. */
  #isUnheard(cause: Cause, host: number): boolean {
    if (typeof cause === 'string' || cause.by !== 'read') return false;
    return !this.#recorded.has(cause.token) && !this.#evidence.facts.hasHad(cause.token, host);
  }
}
