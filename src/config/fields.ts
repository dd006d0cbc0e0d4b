import * as z from 'zod';
import { DURATION, parseDuration } from './duration.ts';
import { LISTEN, parseListen } from './listen.ts';

/** An error text for a field: a missing key says that it is missing, anything else what it must be; both say what to write. */
export function says(mustBe: string, write: string): (issue: { readonly input?: unknown }) => string {
  return ({ input }) => `${input === undefined ? 'is missing' : `must be ${mustBe}`}; write ${write}`;
}

/**
 * Text that `parse` turns into something better, or refuses by returning undefined.
 * `pattern` is for editors: it may accept a little more than `parse` does.
 */
function parsed<T>(pattern: RegExp, error: ReturnType<typeof says>, parse: (text: string) => T | undefined) {
  return z
    .string({ error })
    .regex(pattern, { error })
    .transform((text, context): T => {
      const value = parse(text);
      if (value !== undefined) return value;
      context.addIssue({ code: 'custom', message: error({ input: text }) });
      return z.NEVER;
    });
}

/** A duration with inclusive bounds, in milliseconds once read. `zero`: `0s` is allowed as well and has a meaning of its own. */
export function duration(
  standard: string,
  options: { min: string; max: string; zero?: boolean; about: string },
): z.ZodType<number> {
  const { min, max, zero = false, about } = options;
  const bounds = `${zero ? '0s, or ' : ''}${min} to ${max}`;
  const [least, most] = [parseDuration(min) ?? Number.NaN, parseDuration(max) ?? Number.NaN];
  const mustBe = `a duration of ${bounds}: a whole number and a unit (ms, s, m or h)`;
  return parsed(DURATION, says(mustBe, `for example ${standard}`), (text) => {
    const ms = parseDuration(text);
    if (ms === undefined) return undefined;
    return (ms >= least && ms <= most) || (zero && ms === 0) ? ms : undefined;
  })
    .prefault(standard)
    .describe(`${about} A duration, ${bounds}.`);
}

/** A whole number with inclusive bounds. */
export function integer(standard: number, options: { min: number; max: number; about: string }) {
  const { min, max, about } = options;
  const error = says(`a whole number from ${min} to ${max}`, `for example ${standard}`);
  return z
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .prefault(standard)
    .describe(`${about} A whole number, ${min} to ${max}.`);
}

/** A number strictly between 0 and 1. */
export function share(standard: number, about: string) {
  const error = says('a number between 0 and 1, and neither of them', `for example ${standard}`);
  return z
    .number({ error })
    .gt(0, { error })
    .lt(1, { error })
    .prefault(standard)
    .describe(`${about} A number between 0 and 1, and neither of them.`);
}

/** A listening address. */
export function listen(standard: string, about: string) {
  const error = says('HOST:PORT (an IPv6 host in brackets; port 0 picks a free one)', `for example "${standard}"`);
  return parsed(LISTEN, error, parseListen)
    .prefault(standard)
    .describe(`${about} HOST:PORT, an IPv6 host in brackets; port 0 picks a free one.`);
}

/** A listening address, or null: there is none. */
export function listenOrNull(example: string, about: string) {
  const error = says(
    'null or HOST:PORT (an IPv6 host in brackets; port 0 picks a free one)',
    `null, or for example "${example}"`,
  );
  return z
    .union([z.null(), parsed(LISTEN, error, parseListen)], { error })
    .prefault(null)
    .describe(`${about} null, or HOST:PORT, an IPv6 host in brackets; port 0 picks a free one.`);
}

/** The root of an HTTP service, without its trailing slash once read. */
export function baseUrl(standard: string, about: string) {
  const wrong = says('an http:// or https:// URL without user name, query and fragment', `for example "${standard}"`);
  const error = (issue: { readonly input?: unknown }): string =>
    hasApiPath(issue.input)
      ? `must end before "/cgi-bin", which is put behind it; write for example "${standard}"`
      : wrong(issue);
  return parsed(/^https?:\/\//, error, (text) => {
    const url = URL.parse(text);
    if (!url || url.username || url.password || /[?#]/.test(text) || hasApiPath(text)) return undefined;
    return text.replace(/\/+$/, '');
  })
    .prefault(standard)
    .describe(`${about} An http:// or https:// URL.`);
}

/** Whether it is the URL of one of WeChat's calls, and not of its root. */
function hasApiPath(input: unknown): boolean {
  return /(^|\/)cgi-bin(\/|$)/i.test((typeof input === 'string' && URL.parse(input)?.pathname) || '');
}

/** The URL of an HTTP proxy. `wrong` says what it must be. */
export function proxyUrl(wrong: ReturnType<typeof says>) {
  const error = (issue: { readonly input?: unknown }): string =>
    typeof issue.input === 'string' && !isDecodable(issue.input)
      ? 'has a user name or password that is not percent-encoded; write "%25" for "%", "%23" for "#", "%2F" for "/" and "%3F" for "?"'
      : wrong(issue);
  return parsed(/^https?:\/\//, error, (text) => (URL.canParse(text) && isDecodable(text) ? text : undefined));
}

/** Whether user and password can be read out of a URL: a raw "/", "?" or "#" ends them too soon, a lone "%" is no character. */
function isDecodable(url: string): boolean {
  const credentials = url.slice(0, Math.max(0, url.lastIndexOf('@'))).replace(/^https?:\/\//, '');
  if (/[/?#]/.test(credentials)) return false;
  try {
    decodeURIComponent(credentials);
    return true;
  } catch {
    return false;
  }
}

/** A list of words. */
export function words(about: string) {
  const error = says('a list of texts of 1 to 64 characters', 'for example ["双十一"]');
  return z
    .array(z.string({ error }).min(1, { error }).max(64, { error }), { error })
    .max(10_000, { error: 'has more than 10000 words; write fewer' })
    .prefault([])
    .describe(`${about} A list of texts of 1 to 64 characters.`);
}

/** Hosts by which callers may know a listener. */
export function hosts(about: string) {
  const error = says(
    'a list of host names or IP addresses, without scheme and port',
    'for example ["lingpai.internal"]',
  );
  const host = z
    .string({ error })
    .max(253, { error })
    .regex(/^([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.|$))+$|^[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*$/, {
      error,
    });
  return z
    .array(host, { error })
    .max(100, { error: 'has more than 100 hosts; write fewer' })
    .prefault([])
    .describe(`${about} A list of host names or IP addresses, without scheme and port.`);
}

/** A section of the file, which may be left out. */
export function section<T extends z.core.$ZodLooseShape>(about: string, shape: T) {
  return settings(shape)
    .prefault({} as never)
    .describe(about);
}

/** A map of settings, and of no others. */
export function settings<T extends z.core.$ZodLooseShape>(shape: T) {
  const error = says('a map of settings', 'its keys below it, or leave it out for the defaults');
  return z.strictObject(shape, { error });
}
