/** What a counter by app is made of. */
export interface AppCounterOptions {
  readonly name: string;
  readonly help: string;
  /** Besides `app_id`. */
  readonly labelNames: readonly string[];
  /** The label values, in the order of `labelNames`, of the series that each app has from the start, at 0. */
  readonly starts: readonly (readonly string[])[];
}

/**
 * A Prometheus counter with the label `app_id`.
 *
 * `increase()` misses what is counted before a series is first seen, so what may be alerted on begins at 0 for each configured
 * app; all other series come with what they first count, since thousands of apps times every label would be more than a
 * Prometheus likes. prom-client hashes and copies all of them at each scrape; here they are written line by line.
 */
export class AppCounter {
  readonly #name: string;
  readonly #help: string;
  readonly #labelNames: readonly string[];
  readonly #starts: readonly string[];
  /** By app, then by labels as they are written. */
  readonly #counts = new Map<string, Map<string, number>>();

  constructor({ name, help, labelNames, starts }: AppCounterOptions) {
    this.#name = name;
    this.#help = help;
    this.#labelNames = labelNames;
    this.#starts = starts.map((values) => this.#written(values));
  }

  /** Counts one. Label values must come out of closed sets, of names that need no escaping, as app ids are. */
  inc(appId: string, ...values: readonly string[]): void {
    this.#add(appId, this.#written(values), 1);
  }

  /** Begins series of one app at 0 that it has not yet. */
  begin(appId: string, series: readonly (readonly string[])[]): void {
    for (const values of series) this.#add(appId, this.#written(values), 0);
  }

  /** Forgets every other app, among them those of which something was counted after they had been removed. */
  keepOnly(appIds: ReadonlySet<string>): void {
    for (const appId of this.#counts.keys()) if (!appIds.has(appId)) this.#counts.delete(appId);
  }

  /** The text of all series of these apps, line by line. */
  *lines(appIds: Iterable<string>): Generator<string> {
    yield `# HELP ${this.#name} ${this.#help}`;
    yield `# TYPE ${this.#name} counter`;
    for (const appId of appIds) {
      const head = `${this.#name}{app_id="${appId}"`;
      const counts = this.#counts.get(appId);
      for (const labels of this.#starts) yield `${head}${labels}} ${counts?.get(labels) ?? 0}`;
      for (const [labels, count] of counts ?? [])
        if (!this.#starts.includes(labels)) yield `${head}${labels}} ${count}`;
    }
  }

  #add(appId: string, labels: string, count: number): void {
    const counts = this.#counts.get(appId) ?? new Map<string, number>();
    this.#counts.set(appId, counts.set(labels, (counts.get(labels) ?? 0) + count));
  }

  #written(values: readonly string[]): string {
    return this.#labelNames.map((name, i) => `,${name}="${values[i]}"`).join('');
  }
}
