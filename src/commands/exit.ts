import type { Clock } from '../core/kernel/clock.ts';
import { systemClock } from '../ops/clock.ts';
import type { Io, SignalledProcess } from './io.ts';
import { complain } from './output.ts';

/** A command that cannot go on. Its message is for the person who ran it. */
export class Failure extends Error {
  override readonly name = 'Failure';
  /** 1: the command failed. 2: wrong usage or configuration. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.exitCode = exitCode;
  }

  /** For an error that no command foresaw: its stack is what a bug report needs. */
  static unexpected(error: unknown): Failure {
    return new Failure(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}

/** Says on standard error what went wrong, and returns the exit code for it. */
export function explained(error: unknown, io: Pick<Io, 'stderr'>): number {
  const { message, exitCode } = error instanceof Failure ? error : Failure.unexpected(error);
  complain(`lingpai: ${message}\n`, io);
  return exitCode;
}

/** npm passes on a Ctrl-C that the terminal has sent to this process too: signals so close together are one. */
const SAME_SIGNAL_MS = 500;

/**
 * Calls `stop` at the first SIGTERM or SIGINT, and resolves when it has ended. A second signal, half a second later or more,
 * ends the process at once with exit code 1, and says so on standard error.
 */
export function untilSignal(
  stop: () => Promise<void>,
  process: SignalledProcess = globalThis.process,
  clock: Clock = systemClock,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let stoppingSince: number | undefined;
  const onSignal = () => {
    if (stoppingSince === undefined) {
      stoppingSince = clock.monotonic();
      stop().then(resolve, reject);
    } else if (clock.monotonic() - stoppingSince >= SAME_SIGNAL_MS) {
      process.stderr.write('lingpai: a second signal: ending at once, with what was under way unfinished\n');
      process.exit(1);
    }
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return promise.finally(() => {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  });
}
