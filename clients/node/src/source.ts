import { msOf } from './connection.ts';
import { ClosedError, NoTokenError, type NoTokenReason, RejectedError, RpcError } from './errors.ts';
import { type TokenState, TokenStatus } from './gen/lingpai/client/v1/client_pb.js';
import type { LingpaiEvent } from './observe.ts';
import { LONGEST_VALUE, Token } from './token.ts';

/** What a report came to. `token` is the one to use from now on; NEWER_HELD: no call was made, since a newer one is held. */
export interface Report {
  readonly outcome: 'REFRESHED' | 'JOINED' | 'ALREADY_NEWER' | 'STILL_VALID' | 'NEWER_HELD' | 'UNKNOWN';
  readonly token: Token | undefined;
}

/** What a source needs of its client. */
export interface Upkeep {
  readonly signal: AbortSignal;
  readonly retryCapMs: number;
  readonly emit: (event: LingpaiEvent) => void;
  /** ForceRefresh: rejects with RpcError. */
  readonly refresh: (
    app: string,
    token: Token | bigint,
  ) => Promise<{ outcome: Report['outcome']; state?: TokenState; now: number }>;
}

/** A client's view of one app. */
export class Source {
  /** The app id. */
  readonly app: string;
  #held: Token | undefined;
  #reason: NoTokenReason = 'WAITING';
  #words = '';
  /** The newest generation that was seen: none below it is taken (R2). */
  #floor = 0n;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #upkeep: Upkeep;
  readonly #waiters = new Set<() => void>();
  readonly #reports = new Map<bigint, Promise<Report>>();
  /** The last report that the broker refused: the same one is not made again until then. */
  #refused: { readonly generation: bigint; readonly until: number; readonly error: RpcError } | undefined;

  /** @internal */
  constructor(app: string, upkeep: Upkeep) {
    [this.app, this.#upkeep] = [app, upkeep];
  }

  /** The newest token, out of memory (R1). Throws NoTokenError, and ClosedError after `close`. Ask for it at each use; do not keep it. */
  get token(): Token {
    const held = this.#held;
    if (held !== undefined && performance.now() < held.expiresAt) return held;
    throw this.#none();
  }

  #none(): NoTokenError | ClosedError {
    if (this.#isClosed) return new ClosedError();
    // Also where the timer is late, as behind a loop that blocks.
    return this.#held ? new NoTokenError(this.app, 'EXPIRED') : new NoTokenError(this.app, this.#reason, this.#words);
  }

  /** The token, or undefined. */
  get #current(): Token | undefined {
    return this.#held !== undefined && performance.now() < this.#held.expiresAt ? this.#held : undefined;
  }

  /** HELD, or NONE with a reason (WAITING: nothing was said of it yet), with what the broker says of it in words. */
  get state(): {
    readonly state: 'HELD' | 'NONE' | 'WAITING';
    readonly token: Token | undefined;
    readonly reason: NoTokenReason | '';
    readonly words: string;
  } {
    const [token, words] = [this.#current, this.#words];
    if (token) return { state: 'HELD', token, reason: '', words };
    const reason = this.#held ? 'EXPIRED' : this.#reason;
    return { state: reason === 'WAITING' ? 'WAITING' : 'NONE', token, reason, words };
  }

  /**
   * Calls WeChat with the newest token (R12). When `business` throws RejectedError, the token is reported, and `business` is called once
   * more if a newer token came. Else its error is thrown as it is. `business` is called at most twice.
   *
   * @param business is given the token's value, and a signal that aborts when the client is closed.
   */
  async call<T>(business: (token: string, signal: AbortSignal) => T | Promise<T>): Promise<T> {
    const { signal } = this.#upkeep;
    const used = this.token;
    try {
      return await business(used.value, signal);
    } catch (error) {
      if (!(error instanceof RejectedError)) throw error;
      const report = await this.report(used).catch(() => undefined);
      const newest = report && report.outcome !== 'STILL_VALID' ? this.#current : undefined;
      if (newest === undefined || newest.generation <= used.generation) throw error;
      return business(newest.value, signal);
    }
  }

  /**
   * Reports a token that WeChat refused (R11). One ForceRefresh is in flight for a generation; all who report it share the answer.
   * Rejects with RpcError or ClosedError. After an error with RetryInfo the same error is the answer until that time is over.
   *
   * @param token the token, or its generation where the token is not at hand.
   */
  async report(token: Token | bigint): Promise<Report> {
    if (this.#isClosed) throw new ClosedError();
    const generation = typeof token === 'bigint' ? token : token.generation;
    const current = this.#current;
    if (current && current.generation > generation) return { outcome: 'NEWER_HELD', token: current };
    if (this.#refused?.generation === generation && performance.now() < this.#refused.until) throw this.#refused.error;
    const shared = this.#reports.get(generation);
    if (shared) return shared;
    const report = this.#report(token, generation).finally(() => this.#reports.delete(generation));
    this.#reports.set(generation, report);
    return report;
  }

  async #report(token: Token | bigint, generation: bigint): Promise<Report> {
    const { emit, refresh, retryCapMs } = this.#upkeep;
    try {
      const { outcome, state, now } = await refresh(this.app, token);
      if (this.#isClosed) throw new ClosedError();
      if (state) this.accept(state, now);
      emit({ type: 'report', app: this.app, outcome });
      return { outcome, token: this.#current };
    } catch (error) {
      if (this.#isClosed || !(error instanceof RpcError)) throw this.#isClosed ? new ClosedError() : error;
      const retryInMs = Math.min(error.retryAfterMs ?? 0, retryCapMs);
      if (retryInMs > 0) this.#refused = { generation, until: performance.now() + retryInMs, error };
      emit({
        type: 'error',
        during: 'report',
        code: error.code,
        reason: error.reason,
        message: error.message,
        retryInMs,
      });
      throw error;
    }
  }

  /**
   * The token, once one of at least this generation is held. Rejects with NoTokenError (TIMEOUT), ClosedError, or the signal's reason.
   *
   * @param timeoutMs Without it there is no end to the wait.
   */
  async waitFor(
    generation: bigint,
    { timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<Token> {
    const until = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
    for (;;) {
      if (this.#isClosed) throw new ClosedError();
      signal?.throwIfAborted();
      const token = this.#current;
      if (token && token.generation >= generation) return token;
      const left = until - performance.now();
      if (left <= 0)
        throw new NoTokenError(this.app, 'TIMEOUT', `none of generation ${generation} within ${timeoutMs} ms`);
      await this.#change(left, signal);
    }
  }

  /** The token that is held, and then each newer one; who is slow is given the newest only. Ends when the client is closed, or the signal aborts. */
  async *updates({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<Token, void, undefined> {
    let last: Token | undefined;
    while (!this.#isClosed && !signal?.aborted) {
      const token = this.#current;
      if (token && token.id !== last?.id) {
        last = token;
        yield token;
      } else await this.#change(Number.POSITIVE_INFINITY, signal);
    }
  }

  /** Resolves at the next change, at the latest after `ms`. Who waits keeps the process alive. */
  #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(Math.ceil(ms), 2 ** 31 - 1));
      this.#waiters.add(done);
      signal?.addEventListener('abort', done);
    });
  }

  /** Takes a state, whoever brought it (R2, R3). `now`: the broker's clock. Throws RpcError where a value is no token (R18). @internal */
  accept(state: TokenState, now: number): void {
    const { generation, current, previous, status, statusReason } = state;
    if (this.#isClosed || generation < this.#floor) return;
    for (const token of [current, previous])
      if (token && (token.value.length < 1 || token.value.length > LONGEST_VALUE))
        throw new RpcError({
          code: 'INTERNAL',
          words: `a token has 1 to ${LONGEST_VALUE} characters, not ${token.value.length}`,
        });
    this.#floor = generation;
    const ends = (time: typeof state.nextRefreshTime): number =>
      time ? performance.now() + msOf(time) - now : Number.POSITIVE_INFINITY;
    if (!current) {
      this.#put(undefined, status === TokenStatus.EXPIRED ? 'EXPIRED' : 'PENDING', statusReason);
      return;
    }
    const before = previous ? new Token(previous.value, 0n, ends(previous.expireTime)) : undefined;
    const token = new Token(current.value, generation, ends(current.expireTime), before);
    if (token.expiresAt > performance.now()) this.#put(token, 'EXPIRED', statusReason);
    else this.#put(undefined, 'EXPIRED', statusReason);
  }

  /** The app was taken out of the configuration: any generation is taken after it. @internal */
  removed(): void {
    this.#floor = 0n;
    this.#put(undefined, 'REMOVED', '');
  }

  /** The broker does not know it (R10). @internal */
  unknown(words: string): void {
    this.#put(undefined, 'NOT_FOUND', words);
  }

  /** @internal */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#held = undefined;
    this.#wake();
  }

  #put(token: Token | undefined, reason: NoTokenReason, words: string): void {
    if (this.#isClosed) return;
    const was = this.state;
    [this.#held, this.#reason, this.#words] = [token, reason, words];
    clearTimeout(this.#timer);
    if (token && token.expiresAt < Number.POSITIVE_INFINITY) this.#expire(token);
    if (was.token?.id === token?.id && was.token?.generation === token?.generation && (token || was.reason === reason))
      return;
    this.#upkeep.emit({
      type: 'state',
      app: this.app,
      state: token ? 'HELD' : 'NONE',
      generation: token?.generation ?? this.#floor,
      tokenId: token?.id ?? '',
      reason: token ? '' : reason,
    });
    this.#wake();
  }

  #expire(token: Token): void {
    const left = token.expiresAt - performance.now();
    if (left <= 0) this.#put(undefined, 'EXPIRED', this.#words);
    else this.#timer = setTimeout(() => this.#expire(token), Math.min(Math.ceil(left), 2 ** 31 - 1)).unref();
  }

  #wake(): void {
    for (const wake of [...this.#waiters]) wake();
  }
}
