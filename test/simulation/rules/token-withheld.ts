import type { Dated } from '../history.ts';
import type { Evidence, Rule } from './rule.ts';

/** What takes time is told in between. */
const ROUNDING_MS = 2_000;

/**
 * A replica that runs shows no current token of an app, though WeChat accepts the one that it showed before. Limits P13: where the
 * store's clock was set since that was made, its age must be found out, which takes WeChat.
 */
export class TokenWithheld implements Rule {
  readonly #evidence: Evidence;
  /** By host and app: what it showed last, and since when it shows nothing. */
  readonly #shown = new Map<
    string,
    { readonly host: number; readonly app: string; readonly token: string; since: number | null }
  >();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'condition' && event.what === 'down') {
      for (const [key, { host }] of this.#shown) if (host === event.host) this.#shown.delete(key);
    }
    if (event.type !== 'published') return;
    const { host, app, current, at } = event;
    const key = `${host} ${app}`;
    const before = this.#shown.get(key);
    if (current !== null) this.#shown.set(key, { host, app, token: current, since: null });
    else if (before) before.since ??= at;
  }

  tick(now: number): void {
    const { facts, bounds, broken } = this.#evidence;
    for (const [key, { host, app, token, since }] of this.#shown) {
      const mint = facts.mint(token);
      if (since === null || !mint || facts.host(host).bad.has('down')) continue;
      let from = Math.max(since, facts.lastBad(host, 'paused')) + ROUNDING_MS;
      if (facts.clockSetAt >= mint.at) {
        from = Math.max(from, facts.lastBad(host, 'upstream', 'store')) + bounds.detectionMs + bounds.takeoverMs;
      }
      if (now < from || now >= Math.min(mint.diesAt, mint.endsAt)) continue;
      this.#shown.delete(key);
      broken(
        `host ${host} shows no token of ${app}, and ${token} lives for ${Math.round((mint.diesAt - now) / 1000)} s`,
      );
    }
  }
}
