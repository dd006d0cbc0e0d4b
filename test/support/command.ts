import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { vi } from 'vitest';
import { exitWith, Failure } from '../../src/commands/exit.ts';

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

/** What a command that runs in this process prints, the error with which it ends included, and its exit code. */
export async function said(command: () => Promise<void>): Promise<{ code: number; output: string }> {
  const texts: string[] = [];
  const note = (text: unknown) => texts.push(String(text)) > 0;
  using _out = vi.spyOn(process.stdout, 'write').mockImplementation(note);
  using _err = vi.spyOn(process.stderr, 'write').mockImplementation(note);
  const { exitCode } = process;
  process.exitCode = 0;
  try {
    await command().catch((error) => exitWith(error instanceof Failure ? error : Failure.unexpected(error)));
    return { code: Number(process.exitCode), output: texts.join('') };
  } finally {
    process.exitCode = exitCode;
  }
}
