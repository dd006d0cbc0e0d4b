/** A Redis server and what Lingpai's keys there begin with. */
export interface RedisUrl {
  readonly kind: 'redis';
  /** For the client, with user and password. */
  readonly url: string;
  /** For people, without them. */
  readonly name: string;
  readonly prefix: string;
}

const FORM = 'write "redis://[USER:PASSWORD@]HOST[:PORT][/DB][?prefix=NAME]", or "rediss://" for TLS';
const DEFAULT_PREFIX = 'lingpai:';

/** Reads the address of a Redis server, or says what is wrong with it and what to write. No error shows the password. */
export function parseRedisUrl(text: string): RedisUrl | { readonly error: string } {
  // After the last "@": a password may have commas.
  if (/^rediss?:\/\/[^/?#]*,[^@/?#]*([/?#]|$)/i.test(text)) {
    return { error: `several servers cannot be named (no Redis Cluster, no list of sentinels); ${FORM}` };
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return { error: `this is not a URL; ${FORM}; in a password write "%23" for "#" and "%2F" for "/"` };
  }
  if (!/^rediss?:\/\//i.test(text) || url.hostname === '') return { error: `the host is missing; ${FORM}` };
  if (url.hash !== '') {
    return { error: 'nothing may follow "#"; in a password write "%23" for it, "%40" for "@" and "%2F" for "/"' };
  }
  if (!/^(\/(\d{1,5})?)?$/.test(url.pathname)) return { error: `the database must be a number; ${FORM}` };
  for (const key of url.searchParams.keys()) {
    if (key !== 'prefix') return { error: `"${key}" is not known; only "prefix" may follow "?"` };
  }
  const prefix = url.searchParams.get('prefix') ?? DEFAULT_PREFIX;
  if (!/^[\w.:{}-]{1,100}$/.test(prefix)) {
    return { error: 'the prefix must be 1 to 100 letters, digits and the characters _ . : - { }' };
  }
  try {
    decodeURIComponent(url.username + url.password);
  } catch {
    return { error: 'user and password must be percent-encoded: write "%25" for "%"' };
  }
  const db = url.pathname === '/' ? '' : url.pathname;
  const name = `${url.protocol}//${url.hostname}:${url.port || 6379}${db}`;
  const user = url.username === '' && url.password === '' ? '' : `${url.username}:${url.password}@`;
  return { kind: 'redis', url: name.replace('//', `//${user}`), name, prefix };
}
