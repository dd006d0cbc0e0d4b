/** What a request is for. */
export interface Target {
  /** As it came, but that `//` is one slash: for some the base URL ends in one. It begins with a slash. */
  readonly path: string;
  /** What came after the `?`, byte for byte; empty: nothing did. */
  readonly query: string;
}

/** All of WeChat's paths are of these; a percent sign or a dot segment would let a path be another one than it looks. */
const PATH = /^(?:\/[A-Za-z0-9._~-]+)*\/?$/;
const DOTS = /(?:^|\/)\.{1,2}(?:\/|$)/;

/** Reads the target of a request line; undefined: it is no path of WeChat's, as one that names a scheme and a host is none. */
export function targetOf(url: string): Target | undefined {
  const end = url.indexOf('?');
  const written = end < 0 ? url : url.slice(0, end);
  if (!written.startsWith('/')) return undefined;
  const path = written.replaceAll(/\/{2,}/g, '/');
  return PATH.test(path) && !DOTS.test(path) ? { path, query: end < 0 ? '' : url.slice(end + 1) } : undefined;
}

/** What all paths are called that no other label fits. */
export const OTHER_PATH = 'other';

/** Beginnings of WeChat's paths by which calls are counted where no rule states finer ones. */
const KNOWN = [
  '/cgi-bin/token',
  '/cgi-bin/stable_token',
  '/cgi-bin/ticket/getticket',
  '/cgi-bin/message/template/',
  '/cgi-bin/message/subscribe/',
  '/cgi-bin/message/custom/',
  '/cgi-bin/message/mass/',
  '/cgi-bin/message/',
  '/cgi-bin/customservice/',
  '/cgi-bin/template/',
  '/cgi-bin/user/',
  '/cgi-bin/tags/',
  '/cgi-bin/menu/',
  '/cgi-bin/media/',
  '/cgi-bin/material/',
  '/cgi-bin/draft/',
  '/cgi-bin/freepublish/',
  '/cgi-bin/qrcode/',
  '/cgi-bin/wxaapp/',
  '/cgi-bin/express/',
  '/cgi-bin/clear_quota',
  '/cgi-bin/openapi/',
  '/cgi-bin/',
  '/customservice/',
  '/datacube/',
  '/sns/',
  '/wxaapi/',
  '/wxa/business/',
  '/wxa/',
  '/card/',
  '/semantic/',
  '/merchant/',
  '/shop/',
];

/** How many beginnings stated in rules become labels. */
const MOST_STATED = 100;

/** The labels by which calls are counted: nothing that a caller chooses becomes one. */
export class Paths {
  #labels: readonly string[] = [];

  constructor() {
    this.state([]);
  }

  /** Takes the beginnings that rules state now. */
  state(stated: Iterable<string>): void {
    const named = [...new Set(stated)].slice(0, MOST_STATED);
    this.#labels = [...new Set([...KNOWN, ...named])].toSorted((a, b) => b.length - a.length);
  }

  /** The longest beginning that a path has, or OTHER_PATH. */
  labelOf(path: string): string {
    return this.#labels.find((label) => path.startsWith(label)) ?? OTHER_PATH;
  }
}
