/** What a browser says of a request, as far as it does: headers by their names, and the method. */
export interface WebRequest {
  readonly method?: string | undefined;
  readonly host?: string | undefined;
  readonly origin?: string | undefined;
  /** Sec-Fetch-Site and Sec-Fetch-Mode, which only browsers set. */
  readonly fetchSite?: string | undefined;
  readonly fetchMode?: string | undefined;
  /** It came over TLS here: then a page without it is of another origin. */
  readonly isSecure?: boolean;
}

const LOOPBACK = /^(127(\.\d{1,3}){3}|(0{0,4}:){2,7}0{0,3}1|(.+\.)?localhost\.?)$/i;

/** Whether only this machine is meant by a host, an address without brackets or a name: 127.0.0.0/8, ::1 or localhost. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** The host of a Host header, in lower case, without brackets, port and final dot; undefined where the header is no host. */
export function hostOf(header: string | undefined): string | undefined {
  if (header === undefined || /[\s/?#@\\]/.test(header)) return undefined;
  const name = URL.parse(`http://${header}`)?.hostname;
  return name?.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '') || undefined;
}

/**
 * Whether a web page of another origin caused the request. `names` are hosts by which this server is known, whatever the
 * Host header says: a proxy may have rewritten that. What a person opened or followed a link to is not foreign, since the
 * page with the link cannot read the answer.
 */
export function isForeign(request: WebRequest, names: readonly string[] = []): boolean {
  const { method, host, origin, fetchSite, fetchMode, isSecure } = request;
  if (origin !== undefined) {
    const url = URL.parse(origin);
    if (!url || url.host === '' || (isSecure && url.protocol !== 'https:')) return true;
    if (names.includes(hostOf(url.host) ?? '')) return false;
    return URL.parse(`${url.protocol}//${host}`)?.host !== url.host;
  }
  if (fetchSite !== 'cross-site' && fetchSite !== 'same-site') return false;
  return fetchMode !== 'navigate' || (method !== 'GET' && method !== 'HEAD');
}
