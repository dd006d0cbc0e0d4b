import type { Mint } from '../facts.ts';
import type { Dated, Told } from '../history.ts';
import { allowedUntil, isHidden } from './allowed.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

/** A replica shows a previous token that WeChat refuses, for longer than is unavoidable. */
export class PreviousDead implements Rule {
  readonly #evidence: Evidence;
  readonly #published = new LastTold<Told & { readonly host: number }>();
  readonly #known = new Set<string>();
  /** Tokens that some replica has had. */
  readonly #had = new Set<string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type !== 'published') return;
    if (event.current !== null) this.#had.add(event.current);
    const before = this.#published.get(event.host, event.app);
    this.#published.put(event.host, event, before?.event.previous === event.previous ? before.at : event.at);
  }

  tick(now: number): void {
    const { facts, broken } = this.#evidence;
    for (const { event, at } of this.#published.values()) {
      const { app, host, previous } = event;
      if (previous === null || !facts.isDead(previous, now) || facts.host(host).bad.has('down')) continue;
      const token = facts.mint(previous);
      const issuer = facts.issuers.get(app);
      // Nobody asks WeChat about a previous token, and its grace ends by itself.
      const causes = [token?.killer, token?.successor].filter((cause) => cause !== undefined);
      if (!token || !issuer || causes.some((cause) => this.#isUnheard(cause) || isHidden(facts, issuer, cause)))
        continue;
      const since = Math.max(token.diesAt, at);
      if (now <= allowedUntil(this.#evidence, { host, issuer, token, since }, now)) continue;
      const key = `${host} ${previous}`;
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      const seconds = Math.round((now - token.diesAt) / 1000);
      broken(`host ${host} shows ${previous} of ${app} as previous, dead for ${seconds} s`);
    }
  }

  /** Whether a read made WeChat mint, and its answer reached nobody. */
  #isUnheard(cause: Mint | 'revoked'): boolean {
    return cause !== 'revoked' && cause.by === 'read' && !this.#had.has(cause.token);
  }
}
