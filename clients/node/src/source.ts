import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { msOf } from './connection.ts';
import { ClosedError, NoTokenError, type NoTokenReason, RejectedError, RpcError } from './errors.ts';
import type { AppStats, ClientEvent } from './events.ts';
import {
  ForceRefreshOutcome,
  type ForceRefreshResponse,
  type TokenState,
  TokenStatus,
} from './gen/lingpai/client/v1/client_pb.ts';
import { Token } from './token.ts';

/** What a report came to: an outcome of the broker, or NEWER_HELD where it was not asked, since a newer token is held. */
export interface Report {
  readonly outcome: 'REFRESHED' | 'JOINED' | 'ALREADY_NEWER' | 'STILL_VALID' | 'NEWER_HELD' | 'UNKNOWN';
  /** The token to use now. */
  readonly token: Token;
}

/** What a source has of its client. */
export interface Owner {
  readonly signal: AbortSignal;
  readonly retryCapMs: number;
  /** Rejects with an RpcError, or a ClosedError. */
  forceRefresh(app: string, rejected: Token): Promise<ForceRefreshResponse>;
  tell(event: ClientEvent): void;
}

/** One app's token, always the newest that is known. */
export class Source {
  /** The WeChat app id. */
  readonly app: string;
  /** The newest token, or why there is none. Replaced as a whole. */
  #held: Token | NoTokenError | ClosedError;
  #generation = 0n;
  #expiry: NodeJS.Timeout | undefined;
  #changed = deferred();
  /** Under way, by the generation that is reported. */
  readonly #reports = new Map<bigint, Promise<Report>>();
  /** The last report that failed: it is not repeated before `until`, by performance.now(). */
  #refused: { readonly generation: bigint; readonly until: number; readonly error: Error } | undefined;
  readonly #owner: Owner;

  /** @internal */
  constructor(app: string, owner: Owner) {
    this.app = app;
    this.#owner = owner;
    this.#held = new NoTokenError(app, 'WAITING');
  }

  /** The newest token, from memory. Throws NoTokenError or ClosedError. */
  get token(): Token {
    const held = this.#held;
    if (held instanceof Token) return held;
    // Made where it is read, so that its stack says who read.
    throw held instanceof NoTokenError ? new NoTokenError(this.app, held.reason, held.words) : new ClosedError();
  }

  /**
   * Makes a business call with the newest token. If it throws RejectedError, the token is reported to the broker, and with a newer one
   * the call is made once more. Where none came (WeChat accepts the token, or the broker cannot replace it now) its own error is thrown. It is
   * called at most twice. `signal` aborts when the client is closed. Throws NoTokenError or ClosedError where there is no token.
   */
  async call<T>(business: (token: string, signal: AbortSignal) => Promise<T> | T): Promise<T> {
    const used = this.token;
    try {
      return await business(used.value, this.#owner.signal);
    } catch (refusal) {
      if (!(refusal instanceof RejectedError)) throw refusal;
      const newest = await this.report(used).then(
        ({ outcome, token }) => (outcome === 'STILL_VALID' ? undefined : token),
        () => undefined,
      );
      const held = this.#held;
      const next = held instanceof Token && held.generation > used.generation ? held : newest;
      if (!next || next.generation <= used.generation) throw refusal;
      return business(next.value, this.#owner.signal);
    }
  }

  /**
   * Tells the broker that WeChat refused a token of this source. Callers that report one generation share one report. Rejects with an
   * RpcError where the broker cannot replace it now, COOLDOWN for one; the token is kept.
   */
  report(refused: Token): Promise<Report> {
    const held = this.#held;
    if (held instanceof Token && held.generation > refused.generation)
      return Promise.resolve({ outcome: 'NEWER_HELD', token: held });
    const shared = this.#reports.get(refused.generation);
    if (shared) return shared;
    const before = this.#refused;
    if (before?.generation === refused.generation && performance.now() < before.until)
      return Promise.reject(before.error);
    const report = this.#forceRefresh(refused).finally(() => this.#reports.delete(refused.generation));
    this.#reports.set(refused.generation, report);
    return report;
  }

  /**
   * The newest token each time that there is another one: of several that came meanwhile only the last. It begins with the one held, and ends when the client is
   * closed. It does not keep the process alive.
   */
  async *updates(): AsyncGenerator<Token, void, undefined> {
    let last: Token | undefined;
    while (!this.#owner.signal.aborted) {
      const held = this.#held;
      const changed = this.#changed.promise;
      if (held instanceof Token && held.id !== last?.id) {
        last = held;
        yield held;
      } else {
        await changed;
      }
    }
  }

  /** @internal Resolves at the next change of what is held. */
  get changed(): Promise<void> {
    return this.#changed.promise;
  }

  /** @internal What a new stream says that it knows; undefined where no token is held. */
  get known(): bigint | undefined {
    return this.#held instanceof Token ? this.#held.generation : undefined;
  }

  /** @internal */
  get stats(): AppStats {
    const held = this.#held;
    const generation = String(this.#generation);
    if (held instanceof Token) return { state: 'HELD', generation, tokenId: held.id, reason: '' };
    const reason = held instanceof NoTokenError ? held.reason : '';
    return { state: reason === 'WAITING' ? 'WAITING' : 'NONE', generation, tokenId: '', reason };
  }

  /** @internal Takes a state that the broker told, unless it is older than what is held. */
  take(state: TokenState, serverTime: Timestamp | undefined): void {
    if (state.generation < this.#generation || this.#held instanceof ClosedError) return;
    this.#generation = state.generation;
    clearTimeout(this.#expiry);
    const { current, previous, status, statusReason } = state;
    if (!current) {
      this.#set(new NoTokenError(this.app, status === TokenStatus.EXPIRED ? 'EXPIRED' : 'PENDING', statusReason));
      return;
    }
    const lifeMs = current.expireTime ? msOf(current.expireTime) - msOf(serverTime ?? current.expireTime) : Infinity;
    if (current.expireTime && serverTime && lifeMs <= 0) {
      this.#set(new NoTokenError(this.app, 'EXPIRED', statusReason));
      return;
    }
    const older = previous && new Token(previous.value, previous.id, state.generation - 1n);
    this.#set(new Token(current.value, current.id, state.generation, older));
    if (current.expireTime && serverTime) this.#expireAt(performance.now() + lifeMs);
  }

  /** @internal There is no token, for a reason that is not a state: any generation is taken after it. */
  drop(reason: NoTokenReason, words?: string): void {
    clearTimeout(this.#expiry);
    this.#generation = 0n;
    this.#set(new NoTokenError(this.app, reason, words));
  }

  /** @internal */
  close(): void {
    clearTimeout(this.#expiry);
    this.#held = new ClosedError();
    this.#changed.resolve();
  }

  #expireAt(end: number): void {
    // A timer may be early by a little, and holds at most 2^31 ms.
    this.#expiry = setTimeout(
      () => {
        if (performance.now() < end) this.#expireAt(end);
        else this.#set(new NoTokenError(this.app, 'EXPIRED'));
      },
      Math.min(Math.ceil(end - performance.now()), 0x7fff_ffff),
    );
    this.#expiry.unref();
  }

  #set(next: Token | NoTokenError): void {
    const before = this.stats;
    this.#held = next;
    const now = this.stats;
    if (
      now.state === before.state &&
      now.tokenId === before.tokenId &&
      now.generation === before.generation &&
      now.reason === before.reason
    )
      return;
    const { generation, tokenId, reason } = now;
    this.#owner.tell({
      type: 'state',
      app: this.app,
      state: now.state === 'HELD' ? 'HELD' : 'NONE',
      generation,
      tokenId,
      reason,
    });
    const changed = this.#changed;
    this.#changed = deferred();
    changed.resolve();
  }

  async #forceRefresh(refused: Token): Promise<Report> {
    try {
      const { outcome, state, serverTime } = await this.#owner.forceRefresh(this.app, refused);
      const name = (ForceRefreshOutcome[outcome] ?? 'UNKNOWN') as Report['outcome'];
      this.#owner.tell({ type: 'report', app: this.app, outcome: name });
      if (state) this.take(state, serverTime);
      return { outcome: name, token: this.token };
    } catch (error) {
      if (error instanceof RpcError) {
        const { code, reason, message, retryAfterMs } = error;
        const until = performance.now() + Math.min(retryAfterMs, this.#owner.retryCapMs);
        if (retryAfterMs > 0) this.#refused = { generation: refused.generation, until, error };
        this.#owner.tell({ type: 'error', during: 'report', code, reason, message, retryInMs: 0 });
      }
      throw error;
    }
  }
}

/** A promise, and what resolves it. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
