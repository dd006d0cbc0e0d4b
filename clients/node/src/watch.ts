import { Backoff } from './backoff.ts';
import { Connection, msOf } from './connection.ts';
import { RpcError } from './errors.ts';
import {
  WatchTokenRequestSchema,
  type WatchTokenResponse,
  WatchTokenResponseSchema,
} from './gen/lingpai/client/v1/client_pb.js';
import type { Endpoint } from './options.ts';

const WATCH = ['WatchToken', WatchTokenRequestSchema, WatchTokenResponseSchema] as const;

/** What is asked of the broker: the apps (none: all that the caller may read), and the generations that are held. */
export interface WatchRequest {
  readonly appIds: string[];
  readonly knownGenerations: Record<string, bigint>;
}

/** Who is told of a watch. */
export interface WatchHandler {
  /** The next stream's request; undefined: there is nothing to watch until `reopen`. */
  request(): WatchRequest | undefined;
  /** `isReopened`: the first message of a stream after one was lost. What it throws is the stream's error. */
  message(message: WatchTokenResponse, isReopened: boolean): void;
  /** The pause in milliseconds before the next stream, or 0 for at once; undefined: as R5, R8 and R9 have it. */
  failing?(error: RpcError): number | undefined;
  failed(error: RpcError, pauseMs: number, failures: number): void;
  goaway(pauseMs: number): void;
}

/** How a stream ended. */
type End =
  | { readonly error: RpcError; readonly spoke: boolean; readonly lifeMs: number }
  | { readonly pauseMs: number }
  | 'reopen';

/** One WatchToken stream after another, each on a connection of its own, until the signal aborts (R5 to R9). */
export class Watch {
  /** Streams that were tried. */
  attempts = 0;
  readonly #endpoint: Endpoint;
  readonly #handler: WatchHandler;
  readonly #signal: AbortSignal;
  readonly #backoff: Backoff;
  #wasLost = false;
  /** Ends the stream or the pause of now. */
  #interrupt: () => void = () => {};

  constructor(endpoint: Endpoint, handler: WatchHandler, signal: AbortSignal) {
    [this.#endpoint, this.#handler, this.#signal] = [endpoint, handler, signal];
    this.#backoff = new Backoff(endpoint.timing);
    signal.addEventListener('abort', () => this.#interrupt(), { once: true });
  }

  /** Ends the stream, and opens the next one at once with a new request. */
  reopen(): void {
    this.#interrupt();
  }

  /** Resolves once the signal has aborted. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      const request = this.#handler.request();
      const end = request ? await this.#stream(request) : await this.#pause();
      if (this.#signal.aborted || end === 'reopen') continue;
      const pauseMs = this.#pauseAfter(end);
      if (pauseMs > 0) await this.#pause(pauseMs);
    }
  }

  #pauseAfter(end: Exclude<End, 'reopen'>): number {
    if (!('error' in end)) {
      this.#handler.goaway(end.pauseMs);
      return end.pauseMs;
    }
    const { error, spoke, lifeMs } = end;
    if (lifeMs >= this.#endpoint.timing.lifeMs) this.#backoff.reset();
    const pauseMs = this.#handler.failing?.(error) ?? this.#backoff.after(error, spoke);
    this.#handler.failed(error, pauseMs, this.#backoff.failures);
    return pauseMs;
  }

  /** One stream, from dialling to its end. */
  async #stream(request: WatchRequest): Promise<End> {
    const { silenceMs, connectMs } = this.#endpoint.timing;
    this.attempts++;
    let connection: Connection | undefined;
    let firstAt: number | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      const end = await new Promise<End>((resolve) => {
        this.#interrupt = () => resolve('reopen');
        const fail = (thrown: unknown): void => {
          const error = thrown instanceof RpcError ? thrown : connection?.errorOf(thrown);
          const lifeMs = firstAt === undefined ? -1 : performance.now() - firstAt;
          if (error) resolve({ error, spoke: firstAt !== undefined, lifeMs });
        };
        const failAfter = (ms: number, words: string, isOver = (): boolean => true): NodeJS.Timeout => {
          const timer = setTimeout(() => isOver() && fail(new RpcError({ code: 'UNAVAILABLE', words })), ms).unref();
          timers.push(timer);
          return timer;
        };
        const watchdog = failAfter(silenceMs, `nothing was heard for ${silenceMs} ms`);
        failAfter(connectMs, `no connection within ${connectMs} ms`, () => !connection?.isConnected);
        const onMessage = (message: WatchTokenResponse): void => {
          watchdog.refresh();
          connection?.unref();
          const isReopened = firstAt === undefined && this.#wasLost;
          firstAt ??= performance.now();
          this.#wasLost = false;
          try {
            this.#handler.message(message, isReopened);
          } catch (thrown) {
            fail(thrown);
            return;
          }
          if (message.event.case === 'goaway')
            resolve({ pauseMs: this.#backoff.goaway(msOf(message.event.value.reconnectAfter)) });
        };
        Connection.dial(this.#endpoint).then((made) => {
          connection = made;
          if (timers.length === 0) return made.close(); // it came too late
          const stream = made.stream(WATCH, request);
          stream.on('metadata', () => made.unref());
          stream.on('data', (message: WatchTokenResponse) => timers.length > 0 && onMessage(message));
          stream.on('error', fail);
          stream.on('end', () => fail(new RpcError({ code: 'UNKNOWN', words: 'the broker ended the stream' })));
        }, fail);
      });
      if (firstAt !== undefined && end !== 'reopen') this.#wasLost = true;
      return end;
    } finally {
      this.#interrupt = () => {};
      for (const timer of timers.splice(0)) clearTimeout(timer);
      connection?.close();
    }
  }

  /** Waits so long, or without an end, but for `reopen` and the signal. */
  async #pause(ms?: number): Promise<'reopen'> {
    await new Promise<void>((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms).unref();
      this.#interrupt = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#signal.aborted) this.#interrupt();
    });
    this.#interrupt = () => {};
    return 'reopen';
  }
}
