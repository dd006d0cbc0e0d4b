import type { IncomingMessage } from 'node:http';
import { hostOf, isForeign, isLoopback } from '../core/kernel/web.ts';

/** Why a request is not served, as HTTP says it. */
export interface Objection {
  readonly status: 400 | 403 | 421;
  /** For people: what is wrong, and what to do. */
  readonly text: string;
}

/** What the probes of machines that know no name ask for. */
const ANY_HOST = new Set(['/livez', '/readyz']);
const SHOWN = 100;

/**
 * Says which requests web pages have smuggled in: those of a page of another origin, and those of a page whose name was
 * made to lead here. On a loopback listener Host must be loopback's or one of `hosts`; elsewhere it is free unless there
 * are `hosts`, since machines call by address.
 */
export function guard(options: { readonly isLocal: boolean; readonly hosts: readonly string[] }) {
  const hosts = options.hosts.map((host) => hostOf(host.includes(':') ? `[${host}]` : host) ?? host);
  const anyHost = !options.isLocal && hosts.length === 0;

  return ({ method, headers }: IncomingMessage, path: string): Objection | undefined => {
    const { host, origin } = headers;
    const [fetchSite, fetchMode] = [headers['sec-fetch-site'], headers['sec-fetch-mode']].map(String);
    if (isForeign({ method, host, origin, fetchSite, fetchMode }, hosts))
      return { status: 403, text: 'a web page of another origin may not call this broker' };
    if (ANY_HOST.has(path)) return undefined;
    const name = hostOf(host);
    if (name === undefined) return { status: 400, text: 'the request has no valid Host header' };
    if (anyHost || isLoopback(name) || hosts.includes(name)) return undefined;
    const known = [...(options.isLocal ? ['localhost', '127.0.0.1', '[::1]'] : []), ...options.hosts].join(', ');
    const text = `the request is for ${JSON.stringify(name.slice(0, SHOWN))}, and this listener answers to ${known}: use one of these, or name the host in http.hosts`;
    return { status: 421, text };
  };
}
