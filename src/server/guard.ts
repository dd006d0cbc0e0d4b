import type { IncomingHttpHeaders } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { hostOf, isForeign, isLoopback } from '../core/kernel/web.ts';

/** Why a request is not served, as HTTP says it. */
export interface Objection {
  readonly status: 400 | 403 | 421;
  /** For people: what is wrong, and what to do. */
  readonly text: string;
}

/** What a guard is to know of its listener. */
export interface GuardOptions {
  /** It listens: what was bound decides, whatever the configuration calls it. */
  readonly server: Server;
  readonly isSecure: boolean;
  readonly hosts?: readonly string[];
  readonly refuseForwarded?: boolean;
}

/** Says what is wrong with a request by its head. `host` is what it is for. */
export type Guard = (
  method: string | undefined,
  host: string | undefined,
  headers: Readonly<IncomingHttpHeaders>,
  path: string,
) => Objection | undefined;

/** What the probes of machines that know no name ask for. */
const ANY_HOST = new Set(['/livez', '/readyz']);
const SHOWN = 100;

/**
 * Says which requests web pages have smuggled in: those of a page of another origin, and those of a page whose name was
 * made to lead here. On a loopback listener the host must be loopback's or one of `hosts`; elsewhere it is free unless there
 * are `hosts`, since machines call by address. With `refuseForwarded` it also says which a proxy passed on.
 */
export function guard({ server, isSecure, hosts: named = [], refuseForwarded = false }: GuardOptions): Guard {
  const isLocal = isLoopback((server.address() as AddressInfo).address);
  const hosts = named.map((host) => hostOf(host.includes(':') ? `[${host}]` : host) ?? host);
  const anyHost = !isLocal && hosts.length === 0;
  /** One that was found good: most requests are for the same. */
  let good: string | undefined;

  return (method, host, headers, path) => {
    if (refuseForwarded && (headers.forwarded !== undefined || headers['x-forwarded-for'] !== undefined))
      return { status: 403, text: FORWARDED };
    const { origin } = headers;
    const [fetchSite, fetchMode] = [headers['sec-fetch-site'], headers['sec-fetch-mode']].map(String);
    if (isForeign({ method, host, origin, fetchSite, fetchMode, isSecure }, hosts))
      return { status: 403, text: 'a web page of another origin may not call this broker' };
    if (ANY_HOST.has(path) || (good !== undefined && host === good)) return undefined;
    const name = hostOf(host);
    if (name === undefined) return { status: 400, text: 'the request has no valid Host header' };
    if (anyHost || (isLocal && isLoopback(name)) || hosts.includes(name)) {
      good = host;
      return undefined;
    }
    const known = [...(isLocal ? ['localhost', '127.0.0.1', '[::1]'] : []), ...named].join(', ');
    const text = `the request is for ${JSON.stringify(name.slice(0, SHOWN))}, and this listener answers to ${known}: use one of these, or name the host in http.hosts`;
    return { status: 421, text };
  };
}

const FORWARDED =
  'a proxy passed this request on, and whoever reaches this broker may do everything: write "access" in its configuration, with rules, or "access: open" where the proxy asks who calls';
