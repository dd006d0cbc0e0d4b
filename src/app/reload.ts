import { isDeepStrictEqual } from 'node:util';
import { parseKeys } from '../access/key-file.ts';
import type { Config } from '../config/config.ts';
import { accessRules } from '../config/exposure.ts';
import { modeForOthers, readText } from '../config/files.ts';
import { ConfigError } from '../config/problem.ts';
import { type WatchedFiles, watchFiles } from '../config/watch.ts';
import { systemClock } from '../ops/clock.ts';
import type { Logger } from '../ops/log.ts';
import { load } from './load.ts';
import type { Running } from './run.ts';

/** How often the config and secret files are looked at. */
const FILES_INTERVAL_MS = 2_000;

/** Reloads on SIGHUP and when a file changes. A file that cannot be used changes nothing, but that keys are taken by themselves. */
export function reloadOnChange(
  path: string,
  first: Config,
  running: Pick<Running, 'reload'>,
  logger: Logger,
): Disposable {
  let current = first;
  let disposed = false;
  const warnings = warningsOf(first, logger);
  void warnings(first);
  const reload = async () => {
    try {
      const loaded = await load(path);
      if (disposed) return;
      const next = keepingKeys(current, loaded);
      running.reload(next);
      files.setFiles(filesOf(next));
      if (next !== loaded) logger.error({ file: keysFileOf(next) }, KEYS_GONE);
      await warnings(next);
      current = next;
      logger.info({ apps: next.apps.length }, 'configuration reloaded');
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : [{ message: String(error) }];
      logger.error({ problems, apps: current.apps.length }, 'configuration not reloaded; the old one stays in use');
      const next = await withNewKeys(current);
      if (disposed || !next) return;
      running.reload(next);
      current = next;
      logger.warn(
        { file: keysFileOf(next) },
        'key file taken into use by itself, and nothing else of the configuration',
      );
    }
  };
  let last = Promise.resolve();
  const onChange = () => {
    last = last.then(reload);
  };
  const files = watchFiles({ files: filesOf(first), intervalMs: FILES_INTERVAL_MS, clock: systemClock, onChange });
  process.on('SIGHUP', onChange);
  return {
    [Symbol.dispose]() {
      disposed = true;
      files[Symbol.dispose]();
      process.off('SIGHUP', onChange);
    },
  };
}

function filesOf({ path, secretFiles, publicFiles, prints }: Config): WatchedFiles {
  return { paths: [path, ...secretFiles, ...publicFiles], prints };
}

/**
 * A configuration with the key file as it is now. Whoever is revoked is not to go in because of a mistake somewhere else. Undefined:
 * the file has not changed, or cannot be used.
 */
export async function withNewKeys(current: Config): Promise<Config | undefined> {
  const access = accessRules(current);
  if (!access || access.keysFile === null) return undefined;
  try {
    const keys = (await readText(access.keysFile)).replace(/\r?\n$/, '');
    if (keys === access.keys || keys === '') return undefined;
    return { ...current, access: { ...access, keys, keyNames: parseKeys(keys).map(({ name }) => name) } };
  } catch {
    return undefined;
  }
}

const KEYS_GONE =
  'the key file is gone, and its keys stay in use until it is back or the broker is restarted; the rest is taken: to shut callers out, name them in access.blocked';

/**
 * A configuration as it is to be taken into use after another one. A key file that was there and is gone may be on its way back:
 * its keys are not all revoked by that, and all else is still to be had, above all who is blocked.
 */
export function keepingKeys(current: Config, next: Config): Config {
  const [before, access] = [accessRules(current), accessRules(next)];
  if (!before || before.keys === null || !access) return next;
  if (access.keys !== null || access.keysFile !== before.keysFile) return next;
  const { keys, keyNames } = before;
  const warnings = next.warnings.filter(({ path }) => path !== 'access.keys');
  return { ...next, access: { ...access, keys, keyNames }, warnings };
}

function keysFileOf(config: Config): string | null {
  return accessRules(config)?.keysFile ?? null;
}

/**
 * What is to be warned of in a configuration that is taken into use after `first`, or is `first`: settings that a running broker
 * does not take up, what may not be meant, and files that others may open. The same is told once.
 */
export function warningsOf(first: Config, logger: Logger): (config: Config) => Promise<void> {
  let told = '';
  const exposed = new Map<string, string>();
  let toldOf: Config['warnings'] = [];
  return async (config) => {
    const settings = Object.keys(first.fixed).filter((key) => !isDeepStrictEqual(first.fixed[key], config.fixed[key]));
    const isNews = settings.join() !== told;
    told = settings.join();
    if (settings.length > 0 && isNews) logger.warn({ settings }, 'changed settings need a restart');
    if (config.warnings.length > 0 && !isDeepStrictEqual(config.warnings, toldOf))
      logger.warn({ warnings: config.warnings }, 'the configuration may not mean what it says');
    toldOf = config.warnings;
    for (const file of [config.path, ...config.secretFiles]) {
      const mode = await modeForOthers(file);
      if (mode !== undefined && exposed.get(file) !== mode)
        logger.warn({ file, mode }, 'file is open to group or others');
      exposed.set(file, mode ?? '');
    }
  };
}
