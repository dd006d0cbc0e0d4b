import type { Dated } from '../history.ts';
import type { Evidence, Rule } from './rule.ts';

/** A broker fails in a way of its own: an INTERNAL error, or a promise that nobody waits for. */
export class Crack implements Rule {
  readonly #evidence: Evidence;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'crack') this.#evidence.broken(`host ${event.host}: ${event.what}`);
  }
}
