import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import type { Clock } from '../core/kernel/clock.ts';

/** A call of WeChat's API that is passed on: who may make it has been decided. */
export interface ForwardedCall {
  readonly appId: string;
  /**
   * `business`: the app's token takes the place of `access_token`. `secret`: the app's AppSecret takes the place of `secret`
   * or `appsecret`, see `secretCall`.
   */
  readonly kind: 'business' | 'secret';
  /** What goes out before the query, as it came but for `//`: never decoded. It begins with a slash. */
  readonly path: string;
  /** What came after the `?`, byte for byte; empty: nothing did. */
  readonly query: string;
  /** What the caller showed: its stand-in, or its key. It never reaches WeChat. */
  readonly credential: string;
  /** For a call whose body had to be read to know the caller (`clear_quota/v2`): all of it. Else undefined: the request's own. */
  readonly body?: Buffer;
}

/** How a call ended. */
export interface ForwardResult {
  /**
   * `answered`: with WeChat's answer, whole. `refused`: with an answer of the gateway's own, for WeChat was not reached or the call
   * cannot be passed on. `broken`: the connection was, for WeChat's answer broke off or nothing moved. `left`: the client went.
   */
  readonly outcome: 'answered' | 'refused' | 'broken' | 'left';
  /** The HTTP status that the client got; 0: none. */
  readonly status: number;
  /** The answer's errcode; null: it has none, or was not looked into. */
  readonly errcode: number | null;
  /** Whether WeChat refused the token, and the client got the answer that the newer one brought. */
  readonly cured: boolean;
  /** From the call's arrival to the head of its answer, but for the time that WeChat took for it, in milliseconds. */
  readonly addedMs: number;
  /** Why WeChat was not reached or broke off, for the log; empty where `answered` or `left`. It holds no secret. */
  readonly reason: string;
}

/** WeChat, as calls are passed on to it. */
export interface Upstream {
  /** Scheme, host and port. */
  readonly origin: string;
  /** What stands before WeChat's paths; empty, or begins with a slash and ends without one. */
  readonly prefix: string;
  /** As undici's `Dispatcher.dispatch`, on connections that are open to WeChat and not idle for long. */
  dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void;
  /** Why an error of undici's came about, in a sentence without secrets. */
  explain(error: unknown): string;
  /** The errcode of a small answer, compressed or not; null: it has none, or is no JSON object. */
  errcodeOf(body: Buffer, contentEncoding: string): number | null;
  /** Whether this errcode says that the token was refused, and that nothing was done. */
  isTokenRefused(errcode: number): boolean;
  /** A small answer, inflated, in which `***` stands for each secret; null: none is in it. Throws where it cannot be inflated. */
  redactAnswer(body: Buffer, contentEncoding: string, secrets: readonly string[]): Buffer | null;
}

/** What the forwarder is given. */
export interface ForwarderDeps {
  readonly upstream: Upstream;
  /** The app's token at this moment. Throws, or rejects with, an error whose message a caller may read: LingpaiError. */
  tokenOf(appId: string, signal: () => AbortSignal): string | Promise<string>;
  /**
   * WeChat refused this token: compare-and-refresh, one flight for all who report the same. Resolves with the newer one, or with
   * undefined where WeChat stands by the one it refused. Rejects where neither could be found out.
   */
  report(appId: string, token: string, signal: AbortSignal): Promise<string | undefined>;
  /** The app's AppSecret; undefined: the app is gone. */
  secretOf(appId: string): string | undefined;
  readonly clock: Clock;
  readonly limits: ForwarderLimits;
}

/** What bounds the calls that are under way. */
export interface ForwarderLimits {
  /** Calls at once, in all and of one app. What is beyond is answered -1. */
  readonly calls: number;
  readonly callsPerApp: number;
  /** Bytes of request bodies that are kept for a repeat, in all and of one call. What is longer is passed on and not repeated. */
  readonly keptBytes: number;
  readonly keptBytesPerCall: number;
  /** How long WeChat may take to begin its answer once it has the request, and how long either side may neither send nor take. */
  readonly headersTimeoutMs: number;
  readonly stallTimeoutMs: number;
  /** How long a token is waited for, and how long a refused one's successor. */
  readonly tokenTimeoutMs: number;
}

/** Passes calls on to WeChat. `Forwarder` in forwarder.ts is one. */
export interface Forwarding {
  /**
   * Answers the call, and resolves when it has ended; it never rejects. The request's body must be unread, and the response's head
   * not written.
   */
  forward(request: IncomingMessage, response: ServerResponse, call: ForwardedCall): Promise<ForwardResult>;
  /** Calls under way. */
  readonly open: number;
}
