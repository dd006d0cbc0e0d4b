import type { Dated, Told } from '../history.ts';
import { allowedUntil } from './allowed.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

type Seen = Told & { readonly subscriber: number };

/** A subscriber's current token is one that WeChat refuses, for longer than is unavoidable. */
export class DeadToken implements Rule {
  readonly #evidence: Evidence;
  readonly #seen = new LastTold<Seen>();
  /** The host of each subscriber's stream. */
  readonly #streams = new Map<number, { readonly host: number; readonly since: number }>();
  readonly #known = new Set<string>();
  readonly #badMs = { classic: 0, stable: 0 };

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  /** Over all subscribers, how long their current tokens were refused by WeChat, in milliseconds. */
  badMs(now: number): Readonly<Record<'classic' | 'stable', number>> {
    const sum = { ...this.#badMs };
    for (const { event, at } of this.#seen.values()) this.#count(sum, event, at, now);
    return sum;
  }

  take(event: Dated): void {
    if (event.type === 'stream') {
      if (event.host === null) this.#streams.delete(event.subscriber);
      else this.#streams.set(event.subscriber, { host: event.host, since: event.at });
    }
    if (event.type !== 'seen') return;
    const before = this.#seen.get(event.subscriber, event.app);
    // The same token again, with another word on its state.
    const since = before?.event.current === event.current ? before.at : event.at;
    if (before && since === event.at) this.#count(this.#badMs, before.event, before.at, event.at);
    this.#seen.put(event.subscriber, event, since);
  }

  tick(now: number): void {
    const { facts, broken } = this.#evidence;
    for (const { event, at } of this.#seen.values()) {
      if (event.current === null || !facts.isDead(event.current, now)) continue;
      const token = facts.mint(event.current);
      const stream = this.#streams.get(event.subscriber);
      const issuer = facts.issuers.get(event.app);
      if (!token || !stream || !issuer) continue;
      const since = Math.max(token.diesAt, at, stream.since);
      if (now <= allowedUntil(this.#evidence, { host: stream.host, issuer, token, since }, now)) continue;
      const key = `${event.subscriber} ${event.current}`;
      if (this.#known.has(key)) continue;
      this.#known.add(key);
      const seconds = Math.round((now - token.diesAt) / 1000);
      broken(
        `subscriber ${event.subscriber} at host ${stream.host} has ${event.current} of ${event.app}, dead for ${seconds} s`,
      );
    }
  }

  #count(sum: { classic: number; stable: number }, { app, current }: Seen, from: number, to: number): void {
    const { facts } = this.#evidence;
    const token = current === null ? undefined : facts.mint(current);
    if (token) sum[facts.issuers.get(app) ?? 'classic'] += Math.max(0, to - Math.max(from, token.diesAt));
  }
}
