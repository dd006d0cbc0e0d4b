import { isIPv4, isIPv6 } from 'node:net';

/** An address to listen on. */
export interface Listen {
  /** An IPv4 or IPv6 address (without brackets) or a name. */
  readonly host: string;
  /** 0: the system picks a free one. */
  readonly port: number;
}

/** The outer form of a listening address: `HOST:PORT`, with brackets around an IPv6 host. */
export const LISTEN = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})$/;

/** Reads `127.0.0.1:7600`, `localhost:0` or `[::1]:7600`; undefined when the text is no such address. */
export function parseListen(text: string): Listen | undefined {
  const [, written, digits] = LISTEN.exec(text) ?? [];
  if (written === undefined || digits === undefined) return undefined;
  const bracketed = written.startsWith('[');
  const host = bracketed ? written.slice(1, -1) : written;
  const port = Number(digits);
  if (port > 65_535 || (bracketed && !isIPv6(host))) return undefined;
  // Digits and dots alone are meant as IPv4: `127.0.0` must not go to a name server.
  if (/^[\d.]+$/.test(host) && !isIPv4(host)) return undefined;
  return { host, port };
}

/** Writes an address back as `HOST:PORT`, as the `ready` log line and error messages have it. */
export function formatListen({ host, port }: Listen): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
