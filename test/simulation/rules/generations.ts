import type { Dated } from '../history.ts';
import type { Evidence, Rule } from './rule.ts';

/** A generation falls for someone who watches: a subscriber, wherever it is connected, or one process of a replica. */
export class GenerationFell implements Rule {
  readonly #evidence: Evidence;
  readonly #newest = new Map<string, number>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    // Limits P2: another process begins with what it finds. What a subscriber has seen holds across processes.
    if (event.type === 'condition' && event.what === 'down') {
      for (const app of this.#evidence.facts.issuers.keys()) this.#newest.delete(`host ${event.host} ${app}`);
    }
    if (event.type !== 'seen' && event.type !== 'published') return;
    const who = event.type === 'seen' ? `subscriber ${event.subscriber}` : `host ${event.host}`;
    const key = `${who} ${event.app}`;
    const newest = this.#newest.get(key) ?? 0;
    if (event.generation < newest) {
      this.#evidence.broken(`${who} has ${event.generation} of ${event.app} after ${newest}`);
    }
    this.#newest.set(key, Math.max(newest, event.generation));
  }
}

/** One generation is two tokens. */
export class GenerationTwoValues implements Rule {
  readonly #evidence: Evidence;
  readonly #tokens = new Map<string, string>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type !== 'seen' && event.type !== 'published' && event.type !== 'record') return;
    const { app, generation, current } = event;
    if (current === null) return;
    const key = `${app} ${generation}`;
    const token = this.#tokens.get(key);
    if (token !== undefined && token !== current) {
      this.#evidence.broken(`generation ${generation} of ${app} is ${token} and ${current}`);
    }
    this.#tokens.set(key, current);
  }
}
