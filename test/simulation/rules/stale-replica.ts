import type { Dated, Told } from '../history.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

/**
 * A replica that runs and reaches the store is behind it for longer than a poll and its way. Limits P4: without hints it is up to
 * a poll behind, and while it is down, paused or cut off from the store it learns nothing.
 */
export class StaleReplica implements Rule {
  readonly #evidence: Evidence;
  readonly #published = new LastTold<Told & { readonly host: number }>();
  /** By app: what the store holds, and since when. */
  readonly #records = new Map<string, { readonly generation: number; readonly since: number }>();
  readonly #known = new Set<string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'published') this.#published.put(event.host, event, event.at);
    if (event.type !== 'record') return;
    const { app, generation, at } = event;
    if (this.#records.get(app)?.generation !== generation) this.#records.set(app, { generation, since: at });
  }

  tick(now: number): void {
    const { facts, bounds, broken } = this.#evidence;
    for (const [app, { generation, since }] of this.#records) {
      if (now <= since + bounds.behindMs) continue;
      for (const host of facts.hosts.keys()) {
        const { event } = this.#published.get(host, app) ?? {};
        if (event && event.generation >= generation) continue;
        const reachable = facts.lastBad(host, 'down', 'paused', 'store');
        if (now <= reachable + bounds.reconnectionMs + bounds.behindMs) continue;
        if (this.#known.has(`${host} ${app} ${generation}`)) continue;
        this.#known.add(`${host} ${app} ${generation}`);
        broken(
          `host ${host} has ${event?.generation ?? 'nothing'} of ${app}, the store ${generation} since ${Math.round((now - since) / 1000)} s`,
        );
      }
    }
  }
}
