/** The longest URL that is signed. */
export const MAX_URL_LENGTH = 4_096;

/** What WeChat's JS-SDK wants signed, by SHA-1: these four in this order, and the URL without its fragment. */
export function jsapiText(signed: {
  readonly ticket: string;
  readonly nonce: string;
  /** Seconds since 1970. */
  readonly timestamp: number;
  readonly url: string;
}): string {
  const { ticket, nonce, timestamp, url } = signed;
  return `jsapi_ticket=${ticket}&noncestr=${nonce}&timestamp=${timestamp}&url=${withoutFragment(url)}`;
}

function withoutFragment(url: string): string {
  const hash = url.indexOf('#');
  return hash < 0 ? url : url.slice(0, hash);
}

/**
 * What is wrong with a URL that is to be signed, in words that go on from its name; undefined: nothing. It is signed as it is
 * given, since WeChat compares it with what the browser has.
 */
export function urlFault(url: string): string | undefined {
  if (url === '') return 'is required: the address of the page, as location.href has it';
  if (url.length > MAX_URL_LENGTH) return `must have at most ${MAX_URL_LENGTH} characters, has ${url.length}`;
  if (!/^https?:\/\/[^/?#]/.test(url)) return 'must begin with http:// or https:// and a host, as location.href does';
  if (!/^[\x21-\x7e]+$/.test(url))
    return 'must be as location.href has it: other characters than printable ASCII are percent-encoded there';
  return undefined;
}
