import type { Registry } from 'prom-client';

/** What a histogram is made of. */
export interface HistogramOptions {
  readonly name: string;
  readonly help: string;
  /** None, one or two. */
  readonly labelNames: readonly string[];
  /** Upper bounds in seconds, rising. */
  readonly bounds: readonly number[];
}

/**
 * A Prometheus histogram of durations for hot paths, which prom-client's registry can collect.
 * prom-client hashes the labels at each observation; here they lead to plain numbers by two map lookups.
 */
export class Histogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly #labelNames: readonly string[];
  /** Upper bounds in seconds, rising, without +Inf. */
  readonly #bounds: readonly number[];
  readonly #boundsMs: Float64Array;
  readonly #series = new Map<string, Map<string, Series>>();

  constructor(options: HistogramOptions) {
    this.name = options.name;
    this.help = options.help;
    this.#labelNames = options.labelNames;
    this.#bounds = options.bounds;
    this.#boundsMs = Float64Array.from(options.bounds, (seconds) => seconds * 1000);
  }

  /** The series of these label values; it exists from the first call on. The values must come out of closed sets. */
  series(first = '', second = ''): HistogramSeries {
    return this.#series.get(first)?.get(second) ?? this.#add(first, second);
  }

  /** What the registry reads at a scrape. */
  get() {
    const values = [...this.#series.values()].flatMap((inner) =>
      [...inner.values()].flatMap((series) => series.lines(this.name, this.#bounds)),
    );
    return { name: this.name, help: this.help, type: this.type, values };
  }

  #add(first: string, second: string): Series {
    const entries = this.#labelNames.map((name, i) => [name, i === 0 ? first : second]);
    const series = new Series(Object.fromEntries(entries), this.#boundsMs);
    const inner = this.#series.get(first) ?? new Map<string, Series>();
    this.#series.set(first, inner.set(second, series));
    return series;
  }
}

/** A new histogram, in a registry. */
export function registerHistogram(registry: Registry, options: HistogramOptions): Histogram {
  const histogram = new Histogram(options);
  // The registry asks no more of a metric than its name and `get`; its types name prom-client's own classes.
  registry.registerMetric(histogram as never);
  return histogram;
}

/** The observations of one set of label values. */
export interface HistogramSeries {
  /** Counts one duration. */
  observe(durationMs: number): void;
  /** What was counted so far. */
  summary(): HistogramSummary;
}

/** What a series has counted, in milliseconds. All 0 where it counted nothing. */
export interface HistogramSummary {
  readonly count: number;
  /** At least half are no longer: the upper bound of the bucket in which that one is, or `maxMs` where that is less. */
  readonly medianMs: number;
  /** At least 99 of 100 are no longer, as exactly as `medianMs`. */
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** One line of the text format. */
interface Line {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

class Series implements HistogramSeries {
  readonly #labels: Readonly<Record<string, string>>;
  readonly #boundsMs: Float64Array;
  /** One count for each bound, and one for what is above them all. */
  readonly #counts: Float64Array;
  #sumMs = 0;
  #maxMs = 0;

  constructor(labels: Readonly<Record<string, string>>, boundsMs: Float64Array) {
    this.#labels = labels;
    this.#boundsMs = boundsMs;
    this.#counts = new Float64Array(boundsMs.length + 1);
  }

  observe(durationMs: number): void {
    const bounds = this.#boundsMs;
    let i = 0;
    while (i < bounds.length && durationMs > (bounds[i] as number)) i++;
    (this.#counts[i] as number)++;
    this.#sumMs += durationMs;
    if (durationMs > this.#maxMs) this.#maxMs = durationMs;
  }

  summary(): HistogramSummary {
    const count = this.#counts.reduce((total, each) => total + each, 0);
    const within = (share: number) => {
      let seen = 0;
      const bucket = this.#counts.findIndex((each) => {
        seen += each;
        return seen >= share * count;
      });
      return Math.min(this.#boundsMs[bucket] ?? this.#maxMs, this.#maxMs);
    };
    return { count, medianMs: within(0.5), p99Ms: within(0.99), maxMs: this.#maxMs };
  }

  lines(name: string, bounds: readonly number[]): Line[] {
    const labels = this.#labels;
    let total = 0;
    const buckets = [...bounds, '+Inf'].map((le, i) => {
      total += this.#counts[i] ?? 0;
      return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.#sumMs / 1000 },
      { metricName: `${name}_count`, labels, value: total },
    ];
  }
}
