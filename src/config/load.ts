import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { extendWords } from '../core/review/words.ts';
import type { App } from '../core/tokens/ports.ts';
import type { Config } from './config.ts';
import { type ConfigDocument, parseConfig } from './document.ts';
import { ConfigError, type ConfigProblem, formatPath, isNameable, type Segments } from './problem.ts';
import { type ConfigFile, configSchema, secretSchema } from './schema.ts';
import { type ResolvedSecret, resolveSecret, type SecretSources, whyUnreadable } from './secret.ts';
import { adviseOnKey } from './unknown-keys.ts';

/** What loading needs of others. */
export interface LoadOptions {
  /** The text of a file; by default from disk. */
  readonly read?: (path: string) => Promise<string>;
  /** What is wrong with the address of a store, and what to write; undefined: nothing. */
  readonly adviseOnStore?: (url: string) => string | undefined;
}

/**
 * Reads a config file, checks it and resolves its secrets. Rejects with a ConfigError that lists every problem at once,
 * and with nothing else. It changes nothing, so that a caller who reloads can keep what it has.
 */
export async function loadConfig(
  path: string,
  env: NodeJS.ProcessEnv,
  { read = readText, adviseOnStore = () => undefined }: LoadOptions = {},
): Promise<Config> {
  const absolute = resolve(path);
  const folder = dirname(absolute);
  const document = parseConfig(await readConfig(path, absolute, read));
  if (document.value === undefined && document.problems.length > 0) throw new ConfigError(path, document.problems);

  const parsed = configSchema.safeParse(document.value);
  const written = writtenApps(document.value);
  const secrets = await resolveSecrets(written, { env, folder, read });
  const store = storeProblems(document, adviseOnStore);
  const issues = parsed.success ? [] : parsed.error.issues.flatMap((issue) => issueProblems(issue, document));
  const problems = [
    ...document.problems,
    // Of a store's address the schema knows only how it begins.
    ...issues.filter(({ path }) => !store.some((problem) => problem.path === path)),
    ...store,
    ...duplicateApps(written, document),
    ...secretProblems(secrets, document),
  ];
  if (!parsed.success || problems.length > 0) throw new ConfigError(path, problems);
  return toConfig(parsed.data, secrets, absolute);
}

function readText(path: string): Promise<string> {
  return readFile(path, 'utf8');
}

async function readConfig(path: string, absolute: string, read: (path: string) => Promise<string>): Promise<string> {
  try {
    return await read(absolute);
  } catch (error) {
    const message = `${whyUnreadable(error)}; write a config file there (examples/lingpai.yaml shows every setting) or name another one`;
    throw new ConfigError(path, [{ path: '', message }]);
  }
}

/** What one of the schema's issues means for the writer of the file. */
function issueProblems(
  issue: { code?: string; path: PropertyKey[]; message: string; keys?: string[] },
  document: ConfigDocument,
): ConfigProblem[] {
  const path = issue.path.map((segment) => (typeof segment === 'number' ? segment : String(segment)));
  if (issue.code !== 'unrecognized_keys') return [problemAt(path, issue.message, document)];
  return (issue.keys ?? []).map((key) => {
    const line = document.lineOf([...path, key]);
    // What stands below `secret` may be the secret: none of it is repeated.
    if (path.at(-1) === 'secret')
      return { path: formatPath(path), line, message: 'has a key too many; write { env: NAME } or { file: PATH }' };
    return { path: formatPath(isNameable(key) ? [...path, key] : path), line, message: adviseOnKey(path, key) };
  });
}

function problemAt(path: Segments, message: string, document: ConfigDocument): ConfigProblem {
  return { path: formatPath(path), line: document.lineOf(path), message };
}

function storeProblems(document: ConfigDocument, advise: (url: string) => string | undefined): ConfigProblem[] {
  const url = (document.value as { store?: { url?: unknown } | null } | null | undefined)?.store?.url;
  const message = typeof url === 'string' ? advise(url) : undefined;
  return message === undefined ? [] : [problemAt(['store', 'url'], message, document)];
}

/** The items of `apps` as far as they are maps, whatever else is wrong with the file. */
function writtenApps(value: unknown): readonly Partial<Record<'app_id' | 'secret', unknown>>[] {
  const apps = (value as { apps?: unknown } | null | undefined)?.apps;
  return Array.isArray(apps) ? apps.map((app: unknown) => (typeof app === 'object' && app !== null ? app : {})) : [];
}

function duplicateApps(apps: ReturnType<typeof writtenApps>, document: ConfigDocument): ConfigProblem[] {
  const first = new Map<string, number>();
  return apps.flatMap(({ app_id: id }, i) => {
    if (typeof id !== 'string') return [];
    const other = first.get(id);
    if (other === undefined) {
      first.set(id, i);
      return [];
    }
    const line = document.lineOf(['apps', other, 'app_id']);
    return [
      problemAt(['apps', i, 'app_id'], `is the same as apps[${other}].app_id (line ${line}); keep one`, document),
    ];
  });
}

/** The secret of each app; undefined where the schema already refuses what is written. */
async function resolveSecrets(
  apps: ReturnType<typeof writtenApps>,
  sources: SecretSources,
): Promise<(ResolvedSecret | undefined)[]> {
  const resolved: (ResolvedSecret | undefined)[] = [];
  for (const { secret } of apps) {
    const parsed = secretSchema.safeParse(secret);
    resolved.push(parsed.success ? await resolveSecret(parsed.data, sources) : undefined);
  }
  return resolved;
}

function secretProblems(secrets: readonly (ResolvedSecret | undefined)[], document: ConfigDocument): ConfigProblem[] {
  return secrets.flatMap((secret, i) =>
    !secret || secret.ok ? [] : [problemAt(['apps', i, 'secret', ...secret.at], secret.message, document)],
  );
}

function toConfig(file: ConfigFile, secrets: readonly (ResolvedSecret | undefined)[], path: string): Config {
  const { upstream, refresh, watch, messages, review, cluster } = file;
  const found = secrets.filter((secret) => secret?.ok === true);
  const apps = file.apps.map(
    (app, i): App => ({ appId: app.app_id, secret: found[i]?.text ?? '', issuer: app.issuer }),
  );
  return deepFreeze({
    path,
    grpc: file.grpc.listen,
    http: file.http.listen,
    store: { url: absoluteStore(file.store.url, dirname(path)) },
    upstream: { baseUrl: upstream.base_url, proxy: upstream.proxy },
    settings: {
      timeoutMs: upstream.timeout,
      overlapMs: upstream.overlap,
      quotaResetHour: upstream.quota_reset_hour,
      classicAt: refresh.classic_at,
      stablePollMs: refresh.stable_poll,
      cooldownMs: refresh.cooldown,
      probeIntervalMs: refresh.probe_interval,
      dailyBudget: refresh.daily_budget,
      forceDailyBudget: refresh.force_daily_budget,
      heartbeatMs: watch.heartbeat,
      maxWatchers: watch.max_watchers,
    },
    watch: { stallTimeoutMs: watch.stall_timeout },
    messages: {
      dailyQuota: messages.daily_quota,
      ratePerSecond: messages.rate,
      concurrency: messages.concurrency,
      maxWaiting: messages.max_waiting,
      quotaResetHour: upstream.quota_reset_hour,
      timeoutMs: upstream.timeout,
    },
    reviewWords: extendWords({
      marketing: review.marketing_words,
      general: review.general_titles,
      own: review.own_words,
      broad: review.broad_keywords,
    }),
    cluster: { leaseMs: cluster.lease, pollMs: cluster.poll },
    apps,
    secretFiles: [...new Set(found.flatMap((secret) => secret.file ?? []))],
  });
}

function absoluteStore(url: string, folder: string): string {
  const prefix = 'sqlite:';
  return url.startsWith(prefix) ? prefix + resolve(folder, url.slice(prefix.length)) : url;
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  for (const child of Object.values(value)) deepFreeze(child);
  return Object.freeze(value);
}
