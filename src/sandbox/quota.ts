import { setBounded } from './bounded.ts';

const minuteMs = 60_000;
const dayMs = 86_400_000;
/** Asia/Shanghai has had one offset since 1991. */
const shanghaiMs = 8 * 3_600_000;

/** Counts calls per calendar minute and per day of Asia/Shanghai. */
export class Quota {
  #minute = 0;
  #day = 0;
  #inMinute = 0;
  #inDay = 0;

  /** Counts one call, or returns the errcode of the limit that it would break: 45009 for the day's, 45011 for the minute's. */
  take(now: number, perDay: number, perMinute: number): 0 | 45009 | 45011 {
    const full = this.full(now, perDay, perMinute);
    if (full) return full;
    this.#inDay++;
    this.#inMinute++;
    return 0;
  }

  /** What `take` would return. */
  full(now: number, perDay: number, perMinute: number): 0 | 45009 | 45011 {
    this.#roll(now);
    if (this.#inDay >= perDay) return 45009;
    return this.#inMinute >= perMinute ? 45011 : 0;
  }

  /** How many calls were counted today. */
  used(now: number): number {
    this.#roll(now);
    return this.#inDay;
  }

  /** Forgets what was counted today; the minute's stays. */
  clear(): void {
    this.#inDay = 0;
  }

  #roll(now: number): void {
    const minute = Math.floor(now / minuteMs);
    const day = Math.floor((now + shanghaiMs) / dayMs);
    if (day !== this.#day) this.#inDay = 0;
    if (minute !== this.#minute) this.#inMinute = 0;
    this.#day = day;
    this.#minute = minute;
  }
}

/** A quota with its limits. */
export interface Limits {
  readonly quota: Quota;
  readonly perDay: number;
  readonly perMinute: number;
}

/** Paths that are counted; of more, those counted first are forgotten. */
const MOST_PATHS = 1_000;

/** One quota for each path. */
export class PathQuotas {
  readonly #quotas = new Map<string, Quota>();

  /** The quota of a path, where it was called. */
  known(path: string): Quota | undefined {
    return this.#quotas.get(path);
  }

  /** The quota of a path. */
  of(path: string): Quota {
    const known = this.#quotas.get(path);
    if (known) return known;
    const quota = new Quota();
    setBounded(this.#quotas, path, quota, MOST_PATHS);
    return quota;
  }

  /** Those of all paths that were called. */
  get all(): Iterable<Quota> {
    return this.#quotas.values();
  }
}
