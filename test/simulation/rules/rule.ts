import type { Bounds } from '../bounds.ts';
import type { Facts } from '../facts.ts';
import type { Dated } from '../history.ts';

/** What a rule goes by. */
export interface Evidence {
  readonly facts: Facts;
  readonly bounds: Bounds;
  /** Notes that the rule is broken. `what` says by whom and how. */
  readonly broken: (what: string) => void;
}

/** Something that must hold in every history. */
export interface Rule {
  /** Learns what happened; the facts know it already. */
  take?(event: Dated): void;
  /** Looks at the facts as time passes, once a simulated second. */
  tick?(now: number): void;
}

/** What someone was told last of each app. */
export class LastTold<T extends { readonly app: string }> {
  readonly #told = new Map<string, { readonly event: T; readonly at: number }>();

  /** Returns what it takes the place of. */
  put(who: number | string, event: T, at: number): { readonly event: T; readonly at: number } | undefined {
    const key = `${who} ${event.app}`;
    const before = this.#told.get(key);
    this.#told.set(key, { event, at });
    return before;
  }

  get(who: number | string, app: string): { readonly event: T; readonly at: number } | undefined {
    return this.#told.get(`${who} ${app}`);
  }

  values(): Iterable<{ readonly event: T; readonly at: number }> {
    return this.#told.values();
  }
}
