import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import type { Listen } from './mount.ts';

const ADVICE: Readonly<Record<string, (setting: string) => string>> = {
  EADDRINUSE: (setting) =>
    `another process listens there; stop it, or choose another port in ${setting} (0 picks a free one)`,
  EACCES: (setting) => `this user may not listen on that port; choose one above 1023 in ${setting}`,
  EADDRNOTAVAIL: (setting) => `this machine has no such address; correct ${setting}`,
  ENOTFOUND: (setting) => `the name is unknown; correct ${setting}`,
};

/**
 * Starts to listen and resolves with the address as `host:port`, with the port that was really taken. Rejects with an
 * Error that names the address, what is wrong, and what to do; `setting` is the configuration key to speak of.
 */
export async function listen(server: Server, { host, port }: Listen, setting: string): Promise<string> {
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (cause) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const advice = ADVICE[code]?.(setting) ?? `${message}; see ${setting}`;
    throw new Error(`cannot listen on ${format(host, port)}: ${advice}`, { cause });
  }
  return format(host, (server.address() as AddressInfo).port);
}

function format(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
