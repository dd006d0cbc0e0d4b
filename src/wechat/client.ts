import type { Dispatcher } from 'undici';
import type { Clock } from '../core/kernel/clock.ts';
import { UpstreamError } from '../core/kernel/errors.ts';
import type { Sent } from '../core/messages/message.ts';
import type { Delivery, MessageApi } from '../core/messages/ports.ts';
import type { TicketApi, TicketType } from '../core/tickets/ports.ts';
import type { App, Grant, TokenCall, Verdict, WeChat } from '../core/tokens/ports.ts';
import { readGrant, readVerdict } from './answers.ts';
import { ConnectionPool } from './connection-pool.ts';
import type { Answer } from './exchange.ts';
import { exchange } from './exchange.ts';
import { messageCall, readSent } from './messages.ts';
import { readTicket, ticketPath } from './tickets.ts';
import type { Place } from './unreachable.ts';

/** A call to WeChat that has ended, for metrics. */
export interface WeChatCall {
  readonly endpoint:
    | 'token'
    | 'stable_token'
    | 'probe'
    | 'ticket'
    | `message_${Delivery['message']['channel']['kind']}`;
  readonly durationMs: number;
  /** `ok`, WeChat's errcode in digits, or the UpstreamReason for which there was no errcode. */
  readonly result: string;
}

/** How WeChat is reached. */
export interface WeChatClientOptions {
  /** `https://api.weixin.qq.com`, or another origin with or without a path to put before WeChat's. */
  readonly baseUrl: string;
  /** How long connecting, waiting for the answer and each pause within it may last. The caller's signal ends the whole. */
  readonly timeoutMs: number;
  /** An HTTP proxy, `http://user:password@host:port`, or null for none. */
  readonly proxy: string | null;
  /** The environment's variable that names a proxy which is not used, see `proxyVariable`; by default null, for none. */
  readonly ignoredProxy?: string | null;
  readonly clock: Clock;
  /** Told of every call. It must not throw. */
  readonly observe?: (call: WeChatCall) => void;
}

/** The most connections for tokens that are open to WeChat at once; further calls wait for one. */
const MAX_TOKEN_CONNECTIONS = 256;

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: string;
}

/** WeChat over HTTP, by a pool of connections that are kept alive. It holds no token and no secret. */
export class WeChatClient implements WeChat, TicketApi, MessageApi {
  readonly #options: WeChatClientOptions;
  readonly #tokens: ConnectionPool;
  /** Apart from tokens, and without a limit of its own: each app's messages are limited, and none may hold up another's. */
  readonly #messages: ConnectionPool;
  readonly #origin: string;
  readonly #prefix: string;
  readonly #place: Place;

  constructor(options: WeChatClientOptions) {
    const { baseUrl, timeoutMs, proxy, clock, ignoredProxy = null } = options;
    const base = new URL(baseUrl);
    this.#options = options;
    this.#origin = base.origin;
    this.#prefix = base.pathname.replace(/\/+$/, '');
    this.#place = { host: base.host, proxy: proxy && new URL(proxy).host, ignoredProxy };
    const shared = { origin: base.origin, proxy, timeoutMs, clock };
    this.#tokens = new ConnectionPool({ ...shared, most: MAX_TOKEN_CONNECTIONS });
    this.#messages = new ConnectionPool({ ...shared, most: null });
  }

  fetchToken(app: App, call: TokenCall, signal: AbortSignal): Promise<Grant> {
    const read = (answer: Answer): Grant => readGrant(answer, app.secret);
    const credentials = { grant_type: 'client_credential', appid: app.appId, secret: app.secret };
    if (call === 'classic') {
      const path = `/cgi-bin/token?${new URLSearchParams(credentials)}`;
      return this.#call('token', { method: 'GET', path }, read, signal);
    }
    const body = JSON.stringify({ ...credentials, force_refresh: call === 'stable_force' });
    return this.#call('stable_token', { method: 'POST', path: '/cgi-bin/stable_token', body }, read, signal);
  }

  probe(token: string, signal: AbortSignal): Promise<Verdict> {
    const path = `/cgi-bin/get_api_domain_ip?${new URLSearchParams({ access_token: token })}`;
    return this.#call('probe', { method: 'GET', path }, (answer) => readVerdict(answer, token), signal);
  }

  fetchTicket(type: TicketType, token: string, signal: AbortSignal): Promise<Grant> {
    const request = { method: 'GET', path: ticketPath(type, token) } as const;
    return this.#call('ticket', request, (answer) => readTicket(answer, token), signal);
  }

  send(delivery: Delivery, token: string, signal: AbortSignal): Promise<Sent> {
    const { path, body } = messageCall(delivery);
    const request = {
      method: 'POST',
      path: `${path}?${new URLSearchParams({ access_token: token })}`,
      body: JSON.stringify(body),
    } as const;
    const { kind } = delivery.message.channel;
    return this.#call(`message_${kind}`, request, (answer) => readSent(answer, delivery, token), signal);
  }

  /** Closes every connection. Calls in progress and later ones fail as unreachable. */
  async close(): Promise<void> {
    await Promise.all([this.#tokens.close(), this.#messages.close()]);
  }

  async #call<T extends Grant | Verdict | Sent>(
    endpoint: WeChatCall['endpoint'],
    request: Request,
    read: (answer: Answer) => T,
    signal: AbortSignal,
  ): Promise<T> {
    const { clock, observe } = this.#options;
    const start = clock.monotonic();
    let result = 'ok';
    try {
      const value = read(
        await exchange(this.#connectionsFor(endpoint), this.#toDispatch(request), this.#place, signal),
      );
      if ('errcode' in value) result = String(value.errcode);
      return value;
    } catch (error) {
      if (error instanceof UpstreamError) result = error.answer ? String(error.answer.errcode) : error.reason;
      throw error;
    } finally {
      observe?.({ endpoint, durationMs: clock.monotonic() - start, result });
    }
  }

  #connectionsFor(endpoint: WeChatCall['endpoint']): ConnectionPool {
    return endpoint.startsWith('message_') ? this.#messages : this.#tokens;
  }

  #toDispatch(request: Request): Dispatcher.DispatchOptions {
    const headers = { accept: 'application/json', 'user-agent': 'lingpai' };
    return {
      ...request,
      origin: this.#origin,
      path: this.#prefix + request.path,
      headers: request.body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      // Each bounds one silence; the caller's signal bounds the sum.
      headersTimeout: this.#options.timeoutMs,
      bodyTimeout: this.#options.timeoutMs,
    };
  }
}
