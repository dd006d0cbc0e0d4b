import type { Dated, Told } from '../history.ts';
import { type Evidence, LastTold, type Rule } from './rule.ts';

/** Limits P11: a rotation may be in progress at the very moment. */
const PATIENCE_MS = 60_000;

interface Recorded {
  readonly app: string;
  readonly generation: number;
  readonly current: string | null;
  readonly intents: number;
  readonly debtDueAt: number | null;
}

/** Long after the last fault someone still has no token, a dead one, or another generation than the rest. */
export class NeverConverged implements Rule {
  readonly #evidence: Evidence;
  readonly #seen = new LastTold<Told & { readonly subscriber: number }>();
  readonly #published = new LastTold<Told & { readonly host: number }>();
  readonly #records = new Map<string, Recorded>();
  #since: number | undefined;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'seen') this.#seen.put(event.subscriber, event, event.at);
    if (event.type === 'published') this.#published.put(event.host, event, event.at);
    if (event.type === 'record') this.#records.set(event.app, event);
    if (event.type === 'calm') this.#since = event.at;
  }

  tick(now: number): void {
    if (this.#since === undefined) return;
    const trouble = this.#trouble(now);
    if (trouble && now <= this.#since + PATIENCE_MS) return;
    this.#since = undefined;
    if (trouble) this.#evidence.broken(trouble);
  }

  #trouble(now: number): string | undefined {
    const { facts, bounds } = this.#evidence;
    for (const app of facts.issuers.keys()) {
      const record = this.#records.get(app);
      if (!record) return `the store has no record of ${app}`;
      // Limits P11, for P8: the budget of the day is spent.
      if (facts.isSpent(app, now, bounds)) continue;
      const { generation, intents, debtDueAt } = record;
      // Limits P11: a stable token is only read again, for as long as a forced refresh whose fate is unknown may still arrive.
      const isClassic = facts.issuers.get(app) === 'classic';
      if (isClassic && debtDueAt !== null) return `${app} owes a confirming mint`;
      if (isClassic && intents > 0) return `${app} has ${intents} mints without an outcome`;
      for (const host of facts.hosts.keys()) {
        const { event } = this.#published.get(host, app) ?? {};
        if (event?.generation !== generation) {
          return `host ${host} has ${event?.generation ?? 'nothing'} of ${app}, the store ${generation}`;
        }
      }
      for (const { event } of this.#seen.values()) {
        if (event.app !== app) continue;
        const who = `subscriber ${event.subscriber}`;
        if (event.current === null) return `${who} has no token of ${app}`;
        if (facts.isDead(event.current, now)) return `${who} has ${event.current} of ${app}, which is dead`;
        // Limits P2: a generation that was lost with the store is no harm while it names the same token.
        if (event.generation === generation || event.current === record.current) continue;
        return `${who} has ${event.generation} of ${app}, the store ${generation}`;
      }
    }
    return undefined;
  }
}
