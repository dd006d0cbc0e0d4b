import type { IncomingMessage } from 'node:http';
import { hostOf, isForeign, isLoopback } from '../core/kernel/web.ts';

/** Why a request does not reach the control endpoint. */
export interface Objection {
  readonly status: 403 | 415 | 421;
  readonly error: string;
}

/**
 * Keeps web pages away from the control endpoint: those of another origin, those whose name was made to lead to this
 * machine (`isLocal`: the sandbox listens on loopback), and forms, which cannot send JSON as such.
 */
export function objectionTo({ method, headers }: IncomingMessage, isLocal: boolean): Objection | undefined {
  const { host, origin } = headers;
  const [fetchSite, fetchMode] = [headers['sec-fetch-site'], headers['sec-fetch-mode']].map(String);
  if (isForeign({ method, host, origin, fetchSite, fetchMode }))
    return { status: 403, error: 'a web page of another origin may not control the sandbox' };
  if (isLocal && !isLoopback(hostOf(host) ?? ''))
    return { status: 421, error: 'the sandbox is on loopback: ask for localhost or 127.0.0.1, by no other name' };
  if (method === 'POST' && !/^application\/json\b/i.test(headers['content-type'] ?? ''))
    return { status: 415, error: 'send the header "content-type: application/json"' };
  return undefined;
}
