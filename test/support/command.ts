import { EventEmitter } from 'node:events';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { explained } from '../../src/commands/exit.ts';
import type { Io } from '../../src/commands/io.ts';

/** A server that answers as the test says, for commands that run in this process. */
export async function fakeBroker(
  routes: (router: ConnectRouter) => void,
): Promise<{ readonly addr: string } & AsyncDisposable> {
  const server = createServer(connectNodeAdapter({ routes }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    addr: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** What a command that runs in this process is given, and what it printed. */
export class CapturedIo extends EventEmitter implements Io {
  /** All that it printed, on standard output and standard error. */
  output = '';
  readonly stdin: AsyncIterable<Buffer>;
  readonly stdout = { write: (text: string) => this.#take(text) };
  readonly stderr = { write: (text: string) => this.#take(text) };
  readonly #cwd: string;

  constructor(cwd = process.cwd(), input: string | Buffer = '') {
    super();
    this.#cwd = cwd;
    this.stdin = Readable.from([Buffer.from(input)]);
  }

  cwd(): string {
    return this.#cwd;
  }

  /** Only a second signal ends a process so, and nobody sends one here. */
  exit(code: number): never {
    throw new Error(`the command ended its process with ${code}`);
  }

  #take(text: string): void {
    this.output += text;
  }
}

/** What a command that runs in this process prints, the error with which it ends included, and its exit code. */
export async function said(
  command: (io: Io) => Promise<void>,
  input: string | Buffer = '',
): Promise<{ code: number; output: string }> {
  const io = new CapturedIo(undefined, input);
  const code = await command(io).then(
    () => 0,
    (error) => explained(error, io),
  );
  return { code, output: io.output };
}
