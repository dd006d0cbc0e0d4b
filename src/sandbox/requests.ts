import type { Call } from './calls.ts';
import { messagePaths, toLetter } from './message-call.ts';

/** The parts of an HTTP request that matter. */
export interface Request {
  readonly method: string;
  readonly url: URL;
  readonly body: string;
  /** The caller's address. */
  readonly ip: string;
}

/** Reads a request to one of WeChat's endpoints as a call, or as the errcode of what is wrong with it. */
export function toCall({ method, url, body, ip }: Request): Call | number {
  const query = (name: string) => url.searchParams.get(name) ?? '';
  switch (url.pathname) {
    case '/cgi-bin/token':
      if (method !== 'GET') return 43001;
      return { kind: 'classic', grantType: query('grant_type'), appId: query('appid'), secret: query('secret'), ip };
    case '/cgi-bin/stable_token':
      return method === 'POST' ? toStableCall(body, ip) : 43002;
    case '/cgi-bin/get_api_domain_ip':
      return method === 'GET' ? { kind: 'probe', token: query('access_token') } : 43001;
    default:
      return toOtherCall(method, url.pathname, query('access_token'), body);
  }
}

/** The longest path that is a call. */
export const PATH_LENGTH = 256;

/** Whether an endpoint of its own is at this path. */
export function isEndpoint(path: string): boolean {
  return tokenPaths.has(path) || messagePaths.has(path);
}

const tokenPaths = new Set(['/cgi-bin/token', '/cgi-bin/stable_token', '/cgi-bin/get_api_domain_ip']);

function toOtherCall(method: string, path: string, token: string, body: string): Call | number {
  const kind = messagePaths.get(path);
  if (!kind) return path.length > PATH_LENGTH ? 40066 : { kind: 'other', token, path };
  if (method !== 'POST') return 43002;
  const letter = toLetter(parse(body));
  return letter ? { kind, token, letter } : 47001;
}

/** What a body holds; undefined when it is not JSON. */
function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

function toStableCall(body: string, ip: string): Call | number {
  const fields = parse(body);
  if (typeof fields !== 'object' || fields === null) return 47001;
  const {
    grant_type: grantType,
    appid: appId,
    secret,
    force_refresh: force,
  } = { ...noStableFields, ...dropNulls(fields) };
  if (typeof grantType !== 'string' || typeof appId !== 'string' || typeof secret !== 'string') return 47001;
  if (typeof force !== 'boolean') return 47001;
  return { kind: force ? 'stable_force' : 'stable', grantType, appId, secret, ip };
}

const noStableFields = { grant_type: '', appid: '', secret: '', force_refresh: false };

/** What is null is not given. */
function dropNulls(fields: object): Record<keyof typeof noStableFields, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as never;
}
