import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';
import { modeForOthers } from '../config/files.ts';
import { ConfigError } from '../config/problem.ts';
import { type WatchedFiles, watchFiles } from '../config/watch.ts';
import { systemClock } from '../ops/clock.ts';
import type { Logger } from '../ops/log.ts';
import { load } from './load.ts';
import type { Running } from './run.ts';

/** How often the config and secret files are looked at. */
const FILES_INTERVAL_MS = 2_000;

/** Reloads on SIGHUP and when a file changes; a file that cannot be used changes nothing. */
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
      const next = await load(path);
      if (disposed) return;
      refuseLostKeys(current, next);
      running.reload(next);
      files.setFiles(filesOf(next));
      await warnings(next);
      current = next;
      logger.info({ apps: next.apps.length }, 'configuration reloaded');
    } catch (error) {
      const problems = error instanceof ConfigError ? error.problems : [{ message: String(error) }];
      logger.error({ problems, apps: current.apps.length }, 'configuration not reloaded; the old one stays in use');
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

/** A key file that was there and is gone may be on its way back: all of its keys are not revoked by that. Throws a ConfigError. */
function refuseLostKeys({ access: before }: Config, { access: next, path }: Config): void {
  if (typeof before !== 'object' || typeof next !== 'object') return;
  if (!before?.keys || !next || next.keys !== null || before.keysFile !== next.keysFile) return;
  const message =
    'the file is gone, and its keys stay in use; put it back, or revoke them: lingpai keys revoke NAME, or access.blocked';
  throw new ConfigError(path, [{ path: 'access.keys', message }]);
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
