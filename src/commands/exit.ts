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

/** Says on standard error what went wrong, and has the process end with the failure's exit code. */
export function exitWith(failure: Failure): void {
  process.stderr.write(`lingpai: ${failure.message}\n`);
  process.exitCode = failure.exitCode;
}

/**
 * Calls `stop` at the first SIGTERM or SIGINT, and resolves when it has ended. A second signal ends the process at once.
 */
export function untilSignal(stop: () => Promise<void>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let stopping = false;
  const onSignal = () => {
    if (stopping) process.exit(1);
    stopping = true;
    stop().then(resolve, reject);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  return promise.finally(() => {
    process.off('SIGTERM', onSignal);
    process.off('SIGINT', onSignal);
  });
}
