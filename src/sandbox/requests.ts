import type { Call } from './calls.ts';
import { toLetter } from './message-call.ts';
import { fileIn } from './multipart.ts';
import { ENDPOINTS, type Endpoint, PATH_LENGTH } from './paths.ts';

/** The parts of an HTTP request that matter. */
export interface Request {
  readonly method: string;
  readonly url: URL;
  /** As UTF-8. Empty where the body is multipart. */
  readonly body: string;
  /** A multipart body. */
  readonly parts?: { readonly bytes: Buffer; readonly boundary: string };
  /** The caller's address. */
  readonly ip: string;
}

/** Reads a request to one of WeChat's endpoints as a call, or as the errcode of what is wrong with it. */
export function toCall(request: Request): Call | number {
  const { method, url } = request;
  const path = url.pathname;
  const endpoint = ENDPOINTS.get(path);
  if (!endpoint) {
    const token = url.searchParams.get('access_token') ?? '';
    return path.length > PATH_LENGTH ? 40066 : { kind: 'other', token, path };
  }
  if (endpoint.method !== 'any' && endpoint.method !== method) return endpoint.method === 'GET' ? 43001 : 43002;
  return read(endpoint.kind, request);
}

function read(kind: Endpoint['kind'], { method, url, body, parts, ip }: Request): Call | number {
  const path = url.pathname;
  const query = (name: string) => url.searchParams.get(name) ?? '';
  const token = query('access_token');
  switch (kind) {
    case 'classic':
      return { kind, grantType: query('grant_type'), appId: query('appid'), secret: query('secret'), ip };
    case 'stable':
      return toStableCall(body, ip);
    case 'message_mini_program':
    case 'message_subscribe':
    case 'message_official_account':
    case 'message_subscription_notice': {
      const letter = toLetter(parse(body));
      return letter ? { kind, token, letter } : 47001;
    }
    case 'probe':
    case 'callback_ip':
    case 'menu':
      return { kind, token, path };
    case 'ticket': {
      // Libraries that POST leave the type in the query for the most part.
      const given = query('type') || (method === 'POST' ? texts(body, ['type'])?.type : '');
      return { kind, token, path, type: given ?? '' };
    }
    case 'clear_quota': {
      const fields = texts(body, ['appid']);
      return fields ? { kind, token, path, cleared: fields.appid } : 47001;
    }
    case 'quota': {
      const fields = texts(body, ['cgi_path']);
      return fields ? { kind, token, path, cgiPath: fields.cgi_path } : 47001;
    }
    case 'rid': {
      const fields = texts(body, ['rid']);
      return fields ? { kind, token, path, rid: fields.rid } : 47001;
    }
    case 'media_upload':
      return { kind, token, path, type: query('type'), file: parts && fileIn(parts.bytes, parts.boundary) };
    case 'media_get':
      return { kind, token, path, mediaId: query('media_id') };
    case 'clear_quota_v2': {
      // WeChat's table has them in the body, and its example in the query.
      const fields = body === '' ? { appid: '', appsecret: '' } : texts(body, ['appid', 'appsecret']);
      if (!fields) return 47001;
      return { kind, appId: fields.appid || query('appid'), secret: fields.appsecret || query('appsecret') };
    }
    case 'jscode2session':
    case 'oauth2': {
      const code = query(kind === 'oauth2' ? 'code' : 'js_code');
      return { kind, appId: query('appid'), secret: query('secret'), grantType: query('grant_type'), code };
    }
  }
}

/** What a body holds; undefined when it is not JSON. */
function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

/** The texts of these names in a JSON object; what is null or missing is empty. Undefined when it is none, or one of them is no text. */
function texts<K extends string>(body: string, names: readonly K[]): Record<K, string> | undefined {
  const fields = parse(body);
  if (typeof fields !== 'object' || fields === null) return undefined;
  const found = names.map((name) => [name, (fields as Record<K, unknown>)[name] ?? ''] as const);
  return found.every(([, value]) => typeof value === 'string')
    ? (Object.fromEntries(found) as Record<K, string>)
    : undefined;
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
