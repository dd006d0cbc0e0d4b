import type { Dated, Told } from '../history.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

/** WeChat counts in whole seconds. */
const ROUNDING_MS = 2_000;

/**
 * A replica that runs shows a current token whose own life is over. A replica that has known the token from its beginning
 * needs nobody to see that. Limits P5: one that was down or paused sees it when it is back. Limits P13: where the store's clock
 * was set since, its age must be found out.
 */
export class ExpiredServed implements Rule {
  readonly #evidence: Evidence;
  readonly #published = new LastTold<Told & { readonly host: number }>();
  readonly #known = new Set<string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'published') this.#published.put(event.host, event, event.at);
  }

  tick(now: number): void {
    const { facts, bounds, broken } = this.#evidence;
    for (const { event } of this.#published.values()) {
      const { app, host, current } = event;
      const token = current === null ? undefined : facts.mint(current);
      if (!token || now <= token.endsAt + ROUNDING_MS) continue;
      const since = Math.max(token.endsAt, facts.lastBad(host, 'down', 'paused'));
      const doubtMs = facts.clockSetAt >= token.at ? bounds.detectionMs + bounds.takeoverMs : 0;
      if (now <= since + ROUNDING_MS + doubtMs) continue;
      if (this.#known.has(`${host} ${current}`)) continue;
      this.#known.add(`${host} ${current}`);
      broken(`host ${host} shows ${current} of ${app}, expired for ${Math.round((now - token.endsAt) / 1000)} s`);
    }
  }
}
