import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Below the ports that systems give to those who ask for any (32768 and up on Linux, 49152 on macOS): whoever listens on port 0,
 * and each connection that goes out, gets one of those, and a process that comes back would find its own taken.
 */
const first = 20_000;
const last = 32_767;

const given = new Set<number>();

/** A port of this machine on which nobody listens, for a process that needs the same one again after a restart. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(first, last + 1);
    if (!given.has(port) && (await isFree(port))) {
      given.add(port);
      return port;
    }
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
