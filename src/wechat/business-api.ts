import type { Dispatcher } from 'undici';
import type { WeChatClientOptions } from './client.ts';
import { ConnectionPool } from './connection-pool.ts';
import { escapeControlCharacters } from './control-characters.ts';
import { TOKEN_REFUSED } from './errcodes.ts';
import { inflate } from './inflate.ts';
import { redact } from './redact.ts';
import { type Place, unreachable } from './unreachable.ts';

/** WeChat for calls that are passed on: connections of their own, without a limit, since who passes them on has one. */
export class BusinessApi {
  /** Scheme, host and port. */
  readonly origin: string;
  /** What stands before WeChat's paths. */
  readonly prefix: string;
  readonly #connections: ConnectionPool;
  readonly #place: Place;

  constructor(options: Pick<WeChatClientOptions, 'baseUrl' | 'timeoutMs' | 'proxy' | 'ignoredProxy' | 'clock'>) {
    const { baseUrl, timeoutMs, proxy, ignoredProxy = null, clock } = options;
    const base = new URL(baseUrl);
    this.origin = base.origin;
    this.prefix = base.pathname.replace(/\/+$/, '');
    this.#place = { host: base.host, proxy: proxy && new URL(proxy).host, ignoredProxy };
    this.#connections = new ConnectionPool({ origin: base.origin, proxy, timeoutMs, most: null, clock });
  }

  /** As undici's `Dispatcher.dispatch`. */
  dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#connections.dispatch(request, handler);
  }

  /** Why an error of undici's came about, without secrets. */
  explain(error: unknown): string {
    return unreachable(error, this.#place);
  }

  /** The errcode of an answer; null: it has none, or is no JSON object. */
  errcodeOf(body: Buffer, contentEncoding: string): number | null {
    try {
      const text = inflate(body, contentEncoding).toString();
      if (!text.includes('errcode')) return null;
      const { errcode } = parse(text) as { errcode?: unknown };
      return typeof errcode === 'number' && Number.isSafeInteger(errcode) ? errcode : null;
    } catch {
      return null;
    }
  }

  /** Whether WeChat refused the token by this errcode, and so did nothing. */
  isTokenRefused(errcode: number): boolean {
    return TOKEN_REFUSED.has(errcode);
  }

  /** The answer, inflated, with `***` for each secret; null: none is in it. Throws where it cannot be inflated. */
  redactAnswer(body: Buffer, contentEncoding: string, secrets: readonly string[]): Buffer | null {
    const text = inflate(body, contentEncoding).toString();
    const redacted = redact(text, secrets);
    return redacted === text ? null : Buffer.from(redacted);
  }

  /** Closes every connection, whatever is under way. */
  close(): Promise<void> {
    return this.#connections.close();
  }
}

function parse(text: string): unknown {
  const json = text.replace(/^\ufeff/, '');
  try {
    return JSON.parse(json);
  } catch {
    return JSON.parse(escapeControlCharacters(json));
  }
}
