import type { UpstreamError } from '../kernel/errors.ts';

/**
 * Who says that WeChat refused a token: a caller, or this broker, to which WeChat said so itself. `nobody`: it is only asked whether
 * the token is good, and WeChat's word alone counts.
 */
export type Witness = 'caller' | 'broker' | 'nobody';

/** By whose word; `reporter` is the name of a caller, undefined where nobody knows it. */
export interface Report {
  readonly witness?: Witness | undefined;
  readonly reporter?: string | undefined;
}

/** So many callers' reports of one token are believed without WeChat's word. */
const ENOUGH_REPORTS = 2;

/**
 * What is reported of the current token while WeChat's own word on it is wanting. A caller counts once, however often it reports;
 * where callers have no names, each call counts as one caller's. Times are elapsed milliseconds.
 */
export class Suspicion {
  readonly generation: number;
  /** When the first report came. */
  readonly since: number;
  /** When WeChat is next asked without anybody asking for it; Infinity: its word is not known to be wanting. */
  lookAt = Number.POSITIVE_INFINITY;
  /** Why WeChat did not say whether it accepts the token; undefined: it has not been asked. */
  error: UpstreamError | undefined;
  /** The reports are believed. */
  isBelieved = false;
  #reports = 0;
  /** The first who reported it by name. */
  #reporter: string | undefined;
  #isSeen = false;

  constructor(generation: number, now: number) {
    this.generation = generation;
    this.since = now;
  }

  /** One more report. */
  add({ witness, reporter }: Report): void {
    this.#isSeen ||= witness === 'broker';
    // Two are enough: nobody after the first need be remembered.
    if (reporter === undefined || reporter !== this.#reporter) this.#reports++;
    this.#reporter ??= reporter;
  }

  /** Whether WeChat refused the token at a call of this broker's own: nothing but the probe's word is wanting. */
  get isSeen(): boolean {
    return this.#isSeen;
  }

  /** Whether that is enough to mint without WeChat's word: several reports, or one that has stood for the cooldown. */
  isEnough(now: number, cooldownMs: number): boolean {
    return this.#isSeen || this.#reports >= ENOUGH_REPORTS || now >= this.since + cooldownMs;
  }

  /** For people; empty while WeChat may still say it itself. */
  get words(): string {
    if (!this.error) return '';
    return `it is reported that WeChat refuses the current token, and WeChat did not say: ${this.error.message}`;
  }
}
