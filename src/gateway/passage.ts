import type { IncomingMessage, ServerResponse } from 'node:http';
import { withDeadline } from '../core/kernel/abortable.ts';
import { Refused } from './answers.ts';
import { Attempt, type Attempted, endWith, type SmallAnswer, writeHead } from './attempt.ts';
import type { ForwardedCall, ForwardResult } from './forwarded.ts';
import { headerOf, headersToWeChat } from './heads.ts';
import { type Carried, formWithoutToken, queryWithToken, withSecret } from './in-place.ts';
import { Mask, masked } from './mask.ts';
import { Late, refuse, wordsOf } from './refused.ts';
import { collect, drain, lengthOf, type RequestBody, StreamedBody, WholeBody } from './request-body.ts';
import { Alarm, type Shared } from './shared.ts';
import { encodingOf, withoutSecretsIn } from './small-answer.ts';

/** A body of no more bytes is read before it is passed on: it costs less than a stream, and may be rewritten. */
const WHOLE_BYTES = 64 * 1024;
/** WeChat's refusals have a tenth of it. */
const REFUSAL_BYTES = 4 * 1024;
/** What is answered to a call that carries a secret has a tenth of it. */
const SECRET_ANSWER_BYTES = 64 * 1024;

/** The client went. */
class Left extends Error {}

type Result = Omit<ForwardResult, 'addedMs'>;

/** One call on its way to WeChat and back. */
export class Passage {
  readonly #shared: Shared;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #call: ForwardedCall;
  readonly #arrivedAt: number;
  readonly #stall = new Alarm(() => this.#onStall());
  readonly #lateHead = new Alarm(() => this.#onLateHead());
  readonly #left = Promise.withResolvers<never>();
  #aborter: AbortController | undefined;
  #attempt: Attempt | undefined;
  #body: RequestBody = new WholeBody(null);
  #ownBytes = 0;
  #hasLeft = false;
  #brokenBy = '';
  #waitedMs = 0;
  #addedMs = 0;
  /** Whether the client wants its connection closed. */
  readonly #closes: boolean;

  constructor(shared: Shared, request: IncomingMessage, response: ServerResponse, call: ForwardedCall) {
    this.#shared = shared;
    this.#request = request;
    this.#response = response;
    this.#call = call;
    this.#arrivedAt = shared.deps.clock.monotonic();
    this.#left.promise.catch(() => {});
    this.#closes = !response.shouldKeepAlive;
    // Node would close it with the answer's last byte, and what is still on its way in would have the answer lost.
    if (lengthOf(request) !== 0 && !request.complete) response.shouldKeepAlive = true;
  }

  /** Passes the call on. It never rejects. */
  run(): Promise<ForwardResult> {
    return this.#through(() => this.#pass());
  }

  /** Answers that the call is not passed on. It never rejects. */
  refuse(fault: Refused): Promise<ForwardResult> {
    return this.#through(() => Promise.reject(fault));
  }

  async #through(way: () => Promise<Result>): Promise<ForwardResult> {
    const { heads, kept } = this.#shared;
    this.#response.once('close', this.#onClose);
    if (this.#isCutOff || this.#request.socket.destroyed) this.#onClose();
    let result: Result;
    try {
      result = await way();
    } catch (error) {
      result = await this.#excuse(error);
    }
    heads.stop(this.#lateHead);
    this.#aborter?.abort();
    this.#body.release();
    kept.give(this.#ownBytes);
    this.#ownBytes = 0;
    if (this.#request.complete || this.#request.socket.destroyed) this.#finish();
    else this.#drain();
    return { ...result, addedMs: this.#addedMs };
  }

  async #pass(): Promise<Result> {
    const call = this.#call;
    const carried = await this.#takeBody();
    if (call.kind === 'secret') return await this.#passWithSecret(carried);
    const token = await this.#within(() => this.#shared.deps.tokenOf(call.appId, () => this.#signal));
    const first = await this.#try(token, carried);
    if (first.kind !== 'small') return this.#ended(first, false);
    const errcode = this.#errcodeOf(first);
    if (errcode === null || !this.#shared.deps.upstream.isTokenRefused(errcode))
      return await this.#answer(first, errcode, [token], false);
    const newer = await this.#report(token, errcode);
    if (newer === undefined || newer === token || !this.#body.isRepeatable)
      return await this.#answer(first, errcode, [token], false);
    return await this.#repeat(newer, token, carried);
  }

  async #repeat(newer: string, refused: string, carried: Carried): Promise<Result> {
    const second = await this.#try(newer, carried);
    if (second.kind !== 'small') return this.#ended(second, true);
    const errcode = this.#errcodeOf(second);
    const isCured = errcode === null || !this.#shared.deps.upstream.isTokenRefused(errcode);
    // The next call is to find a better one.
    if (!isCured) await this.#report(newer, errcode);
    return await this.#answer(second, errcode, [newer, refused], isCured);
  }

  async #passWithSecret(carried: Carried): Promise<Result> {
    const { appId, credential } = this.#call;
    const real = this.#shared.deps.secretOf(appId);
    if (real === undefined) throw new Refused(40013, `invalid appid: the broker has no app ${appId}.`);
    const placed = withSecret(carried, { real, credential });
    const answer = await this.#send(placed, [real], { what: 'any', bytes: SECRET_ANSWER_BYTES });
    if (answer.kind !== 'small') return this.#ended(answer, false);
    return await this.#answer(answer, this.#errcodeOf(answer), [real], false);
  }

  /** What is known of the body before the call is passed on; `#body` is what is sent. */
  async #takeBody(): Promise<Carried> {
    const { query, body, kind, credential } = this.#call;
    const length = lengthOf(this.#request);
    if (body || length === 0) return { query, body };
    const { kept, stalls, deps } = this.#shared;
    const isWhole = length !== undefined && length <= WHOLE_BYTES && kept.take(length);
    if (isWhole) this.#ownBytes = length;
    if (isWhole || kind === 'secret') {
      stalls.start(this.#stall);
      const whole = await this.#orLeft(collect(this.#request, WHOLE_BYTES, this.#moved));
      stalls.stop(this.#stall);
      if (this.#request.complete) this.#response.shouldKeepAlive = !this.#closes;
      if (this.#isCutOff) throw new Left();
      if (!whole) throw new Refused(-1, `A call that carries a secret has at most ${WHOLE_BYTES} bytes.`);
      return { query, body: whole };
    }
    this.#body = new StreamedBody({
      request: this.#request,
      length,
      mask: new Mask(credential),
      budget: kept,
      mostBytes: deps.limits.keptBytesPerCall,
      onMoved: this.#moved,
    });
    return { query, body: undefined };
  }

  #try(token: string, { query, body }: Carried): Promise<Attempted> {
    const { credential } = this.#call;
    const placed = { real: token, credential };
    const isForm = /^\s*application\/x-www-form-urlencoded\b/i.test(this.#request.headers['content-type'] ?? '');
    const sent = body && masked(isForm ? formWithoutToken(body, placed) : body, credential);
    return this.#send({ query: queryWithToken(query, placed), body: sent }, [token], {
      what: 'refusal',
      bytes: REFUSAL_BYTES,
    });
  }

  async #send(
    { query, body }: Carried,
    secrets: readonly string[],
    holds: { what: 'any' | 'refusal'; bytes: number },
  ): Promise<Attempted> {
    if (this.#hasLeft) throw new Left();
    const { deps, heads, stalls } = this.#shared;
    const { upstream, clock } = deps;
    if (body) this.#body = new WholeBody(body);
    const { length } = this.#body;
    const headers = headersToWeChat(this.#request.rawHeaders, this.#call.credential);
    if (length !== undefined) headers.push('content-length', String(length));
    const attempt = new Attempt({
      upstream,
      clock,
      response: this.#response,
      request: {
        origin: upstream.origin,
        method: (this.#request.method ?? 'GET') as 'GET',
        path: `${upstream.prefix}${this.#call.path}${query === '' ? '' : `?${query}`}`,
        headers,
        // Both are held by the alarms.
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      open: () => this.#body.open(),
      secrets,
      holds,
      onSent: () => {
        stalls.stop(this.#stall);
        heads.start(this.#lateHead);
      },
      onMoved: this.#moved,
    });
    this.#attempt = attempt;
    stalls.start(this.#stall);
    const attempted = await this.#orLeft(attempt.result);
    this.#waitedMs += attempt.waitedMs;
    this.#addedMs = clock.monotonic() - this.#arrivedAt - this.#waitedMs;
    heads.stop(this.#lateHead);
    stalls.stop(this.#stall);
    return attempted;
  }

  /** An answer that was passed on, or none. */
  #ended(attempted: Exclude<Attempted, SmallAnswer>, cured: boolean): Result {
    if (attempted.kind === 'passed')
      return { outcome: 'answered', status: attempted.status, errcode: null, cured, reason: '' };
    if (attempted.status === 0 && this.#brokenBy === '') throw new Refused(-1, attempted.reason);
    return this.#broken(this.#brokenBy || attempted.reason, attempted.status);
  }

  /** Not ended: a client must not take a part for the whole. */
  #broken(reason: string, status: number): Result {
    this.#response.off('close', this.#onClose);
    this.#response.destroy();
    return { outcome: 'broken', status, errcode: null, cured: false, reason };
  }

  #errcodeOf({ head, body }: SmallAnswer): number | null {
    return this.#shared.deps.upstream.errcodeOf(body, encodingOf(head));
  }

  /** Sends what was held back. */
  async #answer(
    { head, body, trailers }: SmallAnswer,
    errcode: number | null,
    secrets: readonly string[],
    cured: boolean,
  ): Promise<Result> {
    const { status } = head;
    const hidden = withoutSecretsIn({ head, body }, secrets, this.#call.kind, this.#shared.deps.upstream);
    const isBodiless = this.#request.method === 'HEAD' || status === 204 || status === 304;
    // Trailers go with chunks alone.
    const isChunked = Object.keys(trailers).length > 0;
    const length = isBodiless ? headerOf(head.headers, 'content-length') : String(hidden.body.length);
    this.#shared.stalls.start(this.#stall);
    writeHead(this.#response, hidden.head, secrets, isChunked ? undefined : length);
    await this.#orLeft(
      new Promise<void>((done) =>
        endWith(this.#response, isBodiless ? undefined : hidden.body, trailers, secrets, done),
      ),
    );
    this.#shared.stalls.stop(this.#stall);
    return { outcome: 'answered', status, errcode, cured, reason: '' };
  }

  async #report(token: string, errcode: number): Promise<string | undefined> {
    const { deps } = this.#shared;
    try {
      return await this.#within(() => deps.report(this.#call.appId, token, this.#signal));
    } catch (error) {
      if (error instanceof Left) throw error;
      throw new Refused(
        -1,
        `WeChat refused the app's token (${errcode}), and there is no other yet: ${wordsOf(error)}`,
      );
    }
  }

  /** What is to do with tokens has a time of its own. */
  async #within<T>(call: () => T | Promise<T>): Promise<T> {
    const value = call();
    if (!(value instanceof Promise)) return value;
    const { clock, limits } = this.#shared.deps;
    return await this.#orLeft(
      withDeadline(clock, limits.tokenTimeoutMs, this.#signal, (signal) => {
        const late = Promise.withResolvers<never>();
        signal.addEventListener('abort', () => late.reject(new Late()), { once: true });
        return Promise.race([value, late.promise]);
      }),
    );
  }

  get #signal(): AbortSignal {
    this.#aborter ??= new AbortController();
    if (this.#hasLeft) this.#aborter.abort();
    return this.#aborter.signal;
  }

  /** A request that was read to its end is destroyed too. */
  get #isCutOff(): boolean {
    return this.#request.destroyed && !this.#request.complete;
  }

  #orLeft<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#left.promise]);
  }

  readonly #moved = (): void => {
    this.#shared.heads.stop(this.#lateHead);
    this.#shared.stalls.start(this.#stall);
  };

  readonly #onClose = (): void => {
    if (this.#response.writableFinished) return;
    this.#hasLeft = true;
    this.#left.reject(new Left());
    this.#aborter?.abort();
    this.#attempt?.stop('the client left');
  };

  #onLateHead(): void {
    const { headersTimeoutMs } = this.#shared.deps.limits;
    this.#attempt?.stop(`WeChat did not answer within ${headersTimeoutMs / 1000} s; it may have done what was asked.`);
  }

  #onStall(): void {
    const seconds = this.#shared.deps.limits.stallTimeoutMs / 1000;
    const attempt = this.#attempt;
    if (attempt?.isUnread) this.#cut(`The client took nothing of its answer for ${seconds} s.`);
    else if (attempt?.isAnswered) attempt.stop(`WeChat's answer stood still for ${seconds} s.`);
    else if (!attempt || this.#body.isAwaited) this.#cut(`The client sent nothing for ${seconds} s.`);
    else attempt.stop(`WeChat took nothing of the request for ${seconds} s.`);
  }

  /** Ends the client's connection. */
  #cut(reason: string): void {
    this.#brokenBy = reason;
    this.#response.destroy();
    this.#response.socket?.destroy();
  }

  async #excuse(error: unknown): Promise<Result> {
    if (error instanceof Left) return this.#gone();
    const { errcode, message } = error instanceof Refused ? error : new Refused(-1, wordsOf(error));
    if (this.#response.headersSent) return this.#broken(message, this.#response.statusCode);
    try {
      this.#shared.stalls.start(this.#stall);
      await this.#orLeft(new Promise<void>((done) => refuse(this.#request, this.#response, errcode, message, done)));
    } catch {
      return this.#gone();
    }
    return { outcome: 'refused', status: this.#response.statusCode, errcode, cured: false, reason: message };
  }

  #gone(): Result {
    const status = this.#response.headersSent ? this.#response.statusCode : 0;
    const outcome = this.#brokenBy === '' ? 'left' : 'broken';
    return { outcome, status, errcode: null, cured: false, reason: this.#brokenBy };
  }

  #drain(): void {
    const { stalls } = this.#shared;
    this.#attempt = undefined;
    stalls.start(this.#stall);
    drain(
      this.#request,
      () => stalls.start(this.#stall),
      () => this.#finish(),
    );
  }

  #finish(): void {
    this.#shared.stalls.stop(this.#stall);
    if (this.#closes && this.#response.shouldKeepAlive) this.#request.socket.end();
  }
}
