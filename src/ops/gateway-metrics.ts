import { Counter, type Registry } from 'prom-client';
import { registerHistogram } from './histogram.ts';

/** A call of the gateway that has ended. */
export interface GatewayCall {
  /** Undefined: it is not known for which app it was. */
  readonly appId: string | undefined;
  /** Out of a closed list. */
  readonly path: string;
  /** Null: the answer has none, or there was no answer. */
  readonly errcode: number | null;
  readonly cured: boolean;
  /** Undefined: WeChat was not asked. */
  readonly addedMs: number | undefined;
}

/** What is counted of the gateway. */
export interface GatewayMetrics {
  ended(call: GatewayCall): void;
  /** Forgets the apps that are not among these. */
  keepOnly(appIds: ReadonlySet<string>): void;
}

/** WeChat may answer with any number: what is beyond this many different codes is counted as `other`. */
const MAX_ERRCODES = 100;
/** So many series; calls beyond are counted as of the app `other`. */
const MAX_SERIES = 20_000;
const OTHER = 'other';
const NONE = 'none';
/** A call that is not held up takes less than a millisecond. */
const ADDED_BOUNDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

type Labels = Readonly<Record<'app_id' | 'path' | 'errcode' | 'cured', string>>;

/** Registers the metrics of the gateway. */
export function registerGatewayMetrics(registry: Registry): GatewayMetrics {
  /** By their labels, joined: a call is to cost less than hashing labels. */
  const series = new Map<string, { readonly labels: Labels; count: number }>();
  const errcodes = new Set<string>(['0', NONE]);
  new Counter({
    name: 'lingpai_gateway_calls_total',
    help: "Calls through the gateway, by app (none: it is not known), path (the beginning of WeChat's path, or other), errcode of the answer (none: it has none) and whether a refused token was cured under it.",
    labelNames: ['app_id', 'path', 'errcode', 'cured'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, count } of series.values()) this.inc(labels, count);
    },
  });
  const added = registerHistogram(registry, {
    name: 'lingpai_gateway_added_seconds',
    help: 'What the gateway added to the time that WeChat took, of calls that were passed on.',
    labelNames: [],
    bounds: ADDED_BOUNDS,
  }).series();

  return {
    ended({ appId, path, errcode, cured, addedMs }) {
      if (addedMs !== undefined) added.observe(addedMs);
      const code = String(errcode ?? NONE);
      if (errcodes.size < MAX_ERRCODES) errcodes.add(code);
      const known = errcodes.has(code) ? code : OTHER;
      const of = (app: string) => `${app} ${path} ${known} ${cured}`;
      const app = appId ?? NONE;
      const labelled = series.has(of(app)) || series.size < MAX_SERIES ? app : OTHER;
      const key = of(labelled);
      const found = series.get(key) ?? {
        labels: { app_id: labelled, path, errcode: known, cured: String(cured) },
        count: 0,
      };
      found.count++;
      series.set(key, found);
    },

    keepOnly(appIds) {
      for (const [key, { labels }] of series)
        if (![NONE, OTHER].includes(labels.app_id) && !appIds.has(labels.app_id)) series.delete(key);
    },
  };
}
