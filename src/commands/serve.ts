import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/problem.ts';
import { watchFiles } from '../config/watch.ts';
import { systemClock } from '../ops/clock.ts';
import { createLogger, LOG_LEVELS, type Logger, type LogLevel } from '../ops/log.ts';
import { Failure, untilSignal } from './exit.ts';
import { load } from './load.ts';
import { type Running, runBroker } from './running.ts';

/** How often the config and secret files are looked at. */
const FILES_INTERVAL_MS = 2_000;

/** `lingpai serve`: the broker, until a signal ends it. */
export async function serve(options: { config: string; logLevel?: string }): Promise<void> {
  const logger = createLogger({ level: levelOf(options.logLevel ?? 'info') });
  const config = await readConfig(options.config);
  const running = await runBroker(config, logger);
  const reloading = reloadOnChange(options.config, config, running, logger);
  const stopped = untilSignal(async () => {
    logger.info('draining');
    reloading[Symbol.dispose]();
    await running.stop();
    logger.info('stopped');
  });
  const { grpc, http, replica } = running;
  logger.info({ grpc, http, ...(replica && { replica }), apps: config.apps.length }, 'ready');
  await stopped;
}

/** Reads a config file for a command; what is wrong with it is a Failure with exit code 2. */
export async function readConfig(path: string): Promise<Config> {
  try {
    return await load(path);
  } catch (error) {
    if (error instanceof ConfigError) throw new Failure(`the configuration cannot be used:\n${error.message}`, 2);
    throw error;
  }
}

function levelOf(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (!level) throw new Failure(`--log-level ${text}: write one of ${LOG_LEVELS.join(', ')}`, 2);
  return level;
}

/** Reloads on SIGHUP and when a file changes; a file that cannot be used changes nothing. */
function reloadOnChange(path: string, first: Config, running: Running, logger: Logger): Disposable {
  let current = first;
  let disposed = false;
  const reload = async () => {
    try {
      const next = await load(path);
      if (disposed) return;
      running.reload(next);
      files.setPaths([next.path, ...next.secretFiles]);
      const ignored = needRestart(first, next);
      if (ignored.length > 0) logger.warn({ settings: ignored }, 'changed settings need a restart');
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
  const paths = [first.path, ...first.secretFiles];
  const files = watchFiles({ paths, intervalMs: FILES_INTERVAL_MS, clock: systemClock, onChange });
  process.on('SIGHUP', onChange);
  return {
    [Symbol.dispose]() {
      disposed = true;
      files[Symbol.dispose]();
      process.off('SIGHUP', onChange);
    },
  };
}

/** The sections that differ and that a running broker does not take up. */
function needRestart(before: Config, after: Config): string[] {
  const sections = [
    'grpc',
    'http',
    'store',
    'upstream',
    'settings',
    'watch',
    'messages',
    'reviewWords',
    'cluster',
  ] as const;
  return sections.filter((section) => JSON.stringify(before[section]) !== JSON.stringify(after[section]));
}
