import { load } from '../app/load.ts';
import { reloadOnChange } from '../app/reload.ts';
import { runBroker } from '../app/run.ts';
import { StartError } from '../app/start-error.ts';
import type { Config } from '../config/config.ts';
import { ConfigError } from '../config/problem.ts';
import { createLogger, LOG_LEVELS, type LogLevel } from '../ops/log.ts';
import { Failure, untilSignal } from './exit.ts';

/** `lingpai serve`: the broker, until a signal ends it. */
export async function serve(options: { config: string; logLevel?: string }): Promise<void> {
  const logger = createLogger({ level: levelOf(options.logLevel ?? 'info') });
  const config = await readConfig(options.config);
  const running = await runBroker(config, logger).catch((error: unknown) => {
    if (error instanceof ConfigError) throw unusable(error);
    throw error instanceof StartError ? new Failure(error.message) : error;
  });
  const reloading = reloadOnChange(options.config, config, running, logger);
  const stopped = untilSignal(async () => {
    logger.info('draining');
    reloading[Symbol.dispose]();
    await running.stop();
    logger.info('stopped');
  });
  const { grpc, http, gateway, replica, access } = running;
  logger.info(
    { grpc, http, ...(gateway && { gateway }), ...(replica && { replica }), access, apps: config.apps.length },
    'ready',
  );
  await stopped;
}

/** Reads a config file for a command; what is wrong with it is a Failure with exit code 2. */
export async function readConfig(path: string): Promise<Config> {
  try {
    return await load(path);
  } catch (error) {
    throw error instanceof ConfigError ? unusable(error) : error;
  }
}

function unusable({ message }: ConfigError): Failure {
  return new Failure(`the configuration cannot be used:\n${message}`, 2);
}

function levelOf(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text);
  if (!level) throw new Failure(`--log-level ${text}: write one of ${LOG_LEVELS.join(', ')}`, 2);
  return level;
}
