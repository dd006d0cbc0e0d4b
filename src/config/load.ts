import { dirname, resolve } from 'node:path';
import { extendWords } from '../core/review/words.ts';
import type { App } from '../core/tokens/ports.ts';
import { judgeAccess, toAccess } from './access.ts';
import { type AccessFiles, type AccessJudges, readAccessFiles } from './access-files.ts';
import { type Addresses, resolveAddresses } from './addresses.ts';
import type { Config } from './config.ts';
import { type ConfigDocument, parseConfig } from './document.ts';
import { accessMode } from './exposure.ts';
import { FileError, readText, whyUnreadable } from './files.ts';
import {
  ConfigError,
  type ConfigProblem,
  formatPath,
  isNameable,
  type Segments,
  SHOWN_PROBLEMS,
  shownProblems,
} from './problem.ts';
import { type ConfigFile, configSchema, secretSchema } from './schema.ts';
import { type ResolvedSecret, resolveSecret, type SecretSources } from './secret.ts';
import { adviseOnKey } from './unknown-keys.ts';

/** What loading needs of others. */
export interface LoadOptions extends AccessJudges {
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
  { read = readText, adviseOnStore = () => undefined, ...judges }: LoadOptions = {},
): Promise<Config> {
  const absolute = resolve(path);
  const folder = dirname(absolute);
  const document = parseConfig(await readConfig(path, absolute, read));
  if (document.value === undefined && document.problems.length > 0) throw new ConfigError(path, document.problems);

  const parsed = configSchema.safeParse(document.value);
  const written = writtenApps(document.value);
  const texts = new Map<string, Promise<string>>();
  const readOnce = (file: string) => {
    const text = texts.get(file) ?? read(file);
    texts.set(file, text);
    return text;
  };
  const sources = { env, folder, read: readOnce };
  const secrets = await resolveSecrets(written, sources);
  const addresses = await resolveAddresses(document.value, sources, adviseOnStore);
  const files = await readAccessFiles(document.value, sources, judges);
  const rules = judgeAccess(document.value, { files, apps: new Set(written.map(({ app_id: id }) => id)) });
  const judged = [...addresses.store.problems, ...addresses.proxy.problems, ...files.problems, ...rules.problems];
  const found = judged.map(({ at, message }) => problemAt(at, message, document));
  const places = new Set(found.map(({ path }) => path));
  const issues = parsed.success ? [] : issueProblems(parsed.error.issues, document);
  const problems = [
    ...document.problems,
    // Of an address the schema knows only how it begins.
    ...issues.filter(({ path }) => !places.has(path)),
    ...found,
    ...duplicateApps(written, document),
    ...secretProblems(secrets, document),
  ];
  if (!parsed.success || problems.length > 0) throw new ConfigError(path, problems);
  const warnings = [...files.warnings, ...rules.warnings].map(({ at, message }) => problemAt(at, message, document));
  return toConfig(parsed.data, {
    secrets,
    addresses,
    files,
    warnings: shownProblems(warnings, 'warnings'),
    path: absolute,
  });
}

async function readConfig(path: string, absolute: string, read: (path: string) => Promise<string>): Promise<string> {
  try {
    return await read(absolute);
  } catch (error) {
    const advice = 'write a config file there (examples/lingpai.yaml shows every setting) or name another one';
    const line = error instanceof FileError ? error.line : undefined;
    throw new ConfigError(path, [{ path: '', line, message: whyUnreadable(error, advice) }]);
  }
}

interface Issue {
  readonly code?: string;
  readonly path: PropertyKey[];
  readonly message: string;
  readonly keys?: string[];
  /** Of a union: what is wrong for each of its members; their paths go on from its own. */
  readonly errors?: Issue[][];
}

/**
 * What is wrong within the only member of a union that what is written is meant as: a map where the others are words. Where
 * several could be meant, or none, the union speaks for itself.
 */
function meant(issue: Issue): readonly Issue[] {
  const entered = (issue.errors ?? []).filter((issues) =>
    issues.every(({ code, path }) => path.length > 0 || code === 'unrecognized_keys'),
  );
  const [only] = entered;
  if (issue.code !== 'invalid_union' || !only || entered.length > 1) return [issue];
  return only.flatMap((inner) => meant({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** What the schema's issues mean for the writer of the file. */
function issueProblems(issues: readonly Issue[], document: ConfigDocument): ConfigProblem[] {
  let advised = 0;
  return issues.flatMap(meant).flatMap((issue) => {
    const path = issue.path.map((segment) => (typeof segment === 'number' ? segment : String(segment)));
    if (issue.code !== 'unrecognized_keys') return [problemAt(path, issue.message, document)];
    return (issue.keys ?? []).map((key) => {
      const line = document.lineOf([...path, key]);
      // What stands below `secret` may be the secret: none of it is repeated.
      if (path.at(-1) === 'secret')
        return { path: formatPath(path), line, message: 'has a key too many; write { env: NAME } or { file: PATH }' };
      // To compare a key with those that there are takes its time, and nobody reads more of it.
      const message = ++advised > SHOWN_PROBLEMS ? 'is not a setting' : adviseOnKey(path, key);
      return { path: formatPath(isNameable(key) ? [...path, key] : path), line, message };
    });
  });
}

function problemAt(path: Segments, message: string, document: ConfigDocument): ConfigProblem {
  return { path: formatPath(path), line: document.lineOf(path), message };
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

function toConfig(
  file: ConfigFile,
  found: {
    secrets: readonly (ResolvedSecret | undefined)[];
    addresses: Addresses;
    files: AccessFiles;
    warnings: Config['warnings'];
    path: string;
  },
): Config {
  const { upstream, refresh, watch, messages, review, cluster } = file;
  const { path, addresses, files, warnings } = found;
  const secrets = found.secrets.filter((secret) => secret?.ok === true);
  const apps = file.apps.map(
    (app, i): App => ({ appId: app.app_id, secret: secrets[i]?.text ?? '', issuer: app.issuer }),
  );
  const { seal, audit, tls, access } = toAccess(file, files, dirname(path));
  const store = { url: absoluteStore(addresses.store.text ?? String(file.store.url), dirname(path)), seal };
  const proxy = addresses.proxy.text ?? null;
  const { apps: _, tls: __, access: ___, ...sections } = file;
  return deepFreeze({
    path,
    grpc: file.grpc.listen,
    http: { ...file.http.listen, hosts: file.http.hosts },
    gateway: file.gateway,
    store,
    tls,
    access,
    audit,
    upstream: { baseUrl: upstream.base_url, proxy },
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
      maxPermits: messages.max_permits,
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
    secretFiles: [
      ...new Set([
        ...[...secrets, addresses.store, addresses.proxy].flatMap(({ file }) => file ?? []),
        ...files.secretFiles,
      ]),
    ],
    publicFiles: [...new Set(files.publicFiles)],
    warnings,
    // How callers are treated, and whether they are served with TLS, stays; rules and certificates change while running.
    fixed: {
      ...flatten({ ...sections, store, upstream: { ...upstream, proxy } }),
      tls: typeof tls === 'object' && tls !== null,
      access: accessMode({ access }),
    },
  });
}

/** The leaves of a tree by their paths. */
function flatten(value: object, path: Segments = []): Record<string, unknown> {
  const leaves = Object.entries(value).map(([key, child]): Record<string, unknown> => {
    const at = [...path, key];
    const isSection = path.length === 0;
    return isSection ? flatten(child, at) : { [formatPath(at)]: child };
  });
  return Object.assign({}, ...leaves);
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
