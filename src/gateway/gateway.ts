import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AuditedCall } from '../core/access/ports.ts';
import { abortable, deadline } from '../core/kernel/abortable.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import { peerName } from '../transport/peer.ts';
import { answer, ERRCODES, Refused, refusalOf, type Stage } from './answers.ts';
import { smallBody } from './body.ts';
import type { ForwardedCall } from './forwarded.ts';
import { type Target, targetOf } from './paths.ts';
import type { Bearer, GatewayCall, GatewayDeps, Visit } from './ports.ts';
import { SECRET_CALLS, shownIn, shownInBody } from './secret-calls.ts';
import { ticketAnswer, ticketType } from './ticket-calls.ts';
import { TokenCalls, type TokenWish, wishInBody, wishInQuery } from './token-calls.ts';

/** How long a call may take that the broker answers by itself, its body included. SDKs wait 10 s and more. */
const OWN_TIMEOUT_MS = 10_000;
/** How long what is left of a refused request is still read, so that its caller gets the answer. */
const REST_MS = 30_000;

/**
 * Calls with a token of WeChat's that is a user's or a platform's, and no app's: nothing of the broker's is in them, however the
 * path is written. WeChat would refuse the app's token there, good as it is, and that would be taken for its end.
 */
const OTHERS = /^\/sns\//i;

type Observed = Omit<GatewayCall, 'path'>;

/** What is known of a call while it goes on. */
interface Progress {
  readonly visit: Visit;
  readonly target: Target;
  appId: string | undefined;
}

/** WeChat's own API: what calls for tokens and tickets get is the broker's, all else is passed on to WeChat. */
export class Gateway {
  readonly #deps: GatewayDeps;
  readonly #tokens: TokenCalls;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#tokens = new TokenCalls(deps);
  }

  /** Answers a request; resolves when it has. It never rejects. */
  async answer(visit: Visit): Promise<void> {
    const { paths, observe } = this.#deps;
    const target = targetOf(visit.request.url ?? '');
    const progress: Progress = { visit, target: target ?? NOWHERE, appId: undefined };
    const stage = target && SHOWS_SECRET.has(target.path) ? 'token' : 'call';
    const observed = await this.#dispatch(progress, target).catch((error: unknown) =>
      this.#refuse(progress, error, stage),
    );
    observe({ ...observed, path: paths.labelOf(progress.target.path) });
  }

  /** Answers a request that is none of an SDK's, such as a web page's. */
  object(response: ServerResponse, text: string): void {
    answer(response, { errcode: ERRCODES.BUSY, errmsg: text });
  }

  async #dispatch(progress: Progress, target: Target | undefined): Promise<Observed> {
    if (!target) throw new Refused(ERRCODES.URL_WRONG, NO_URL);
    const { path, query } = target;
    const { visit } = progress;
    const { method } = visit.request;
    switch (path) {
      case '/cgi-bin/token':
        if (method !== 'GET' && method !== 'HEAD') throw new Refused(ERRCODES.GET_NEEDED, 'require GET method');
        return await this.#token(progress, () => wishInQuery(query));
      case '/cgi-bin/stable_token':
        if (method !== 'POST') throw new Refused(ERRCODES.POST_NEEDED, 'require POST method');
        visit.proceed();
        return await this.#token(progress, async (signal) => wishInBody(await smallBody(visit.request, signal)));
      case '/cgi-bin/ticket/getticket':
        return await this.#ticket(progress);
      default:
        if (SECRET_CALLS.has(path)) return await this.#withSecret(progress);
        if (OTHERS.test(path)) throw new Refused(ERRCODES.NOT_ALLOWED, NOT_OURS);
        return await this.#business(progress);
    }
  }

  async #token(progress: Progress, read: (signal: AbortSignal) => TokenWish | Promise<TokenWish>): Promise<Observed> {
    const { request } = progress.visit;
    return await this.#own(progress, async (signal) => {
      const met = (appId: string) => {
        progress.appId = appId;
      };
      return await this.#tokens.answer(await read(signal), request, signal, met);
    });
  }

  async #ticket(progress: Progress): Promise<Observed> {
    const { tickets, access, clock } = this.#deps;
    const { query, path } = progress.target;
    const type = ticketType(query);
    if (!tickets || !type) return await this.#business(progress);
    const { call, appId } = this.#enter(progress);
    return await this.#own(progress, async (signal) => {
      const ticket = await tickets.get(appId, type, { signal: () => signal });
      access.requireStill(call, 'call', appId);
      access.requirePath(call, appId, path);
      access.record({ event: 'token.read', call, appId, tokenId: ticket.id, kind: type });
      return ticketAnswer(ticket, clock.now());
    });
  }

  async #business(progress: Progress): Promise<Observed> {
    const { call, appId, credential } = this.#enter(progress);
    progress.visit.proceed();
    return await this.#forward(progress, call, { appId, kind: 'business', credential });
  }

  /** A call in which a key stands where WeChat wants the AppSecret. */
  async #withSecret(progress: Progress): Promise<Observed> {
    const { callers, access, clock } = this.#deps;
    const { visit, target } = progress;
    const { request } = visit;
    using limit = deadline(clock, OWN_TIMEOUT_MS, NEVER, tooLate);
    let { appId, secret } = shownIn(target.query);
    let body: Buffer | undefined;
    // A body alone says who calls, and then it has to be had before.
    if (secret === '' && request.method === 'POST') {
      visit.proceed();
      body = await smallBody(request, limit.signal);
      const inBody = shownInBody(body);
      secret = inBody.secret;
      appId ||= inBody.appId;
    }
    const found = callers.bySecret(secret, request.socket);
    const caller = found instanceof Promise ? await abortable(found, limit.signal) : found;
    const peer = peerName(request.socket);
    access.admit(caller, () => peer);
    const call = { caller, peer };
    if (appId === '') throw new Refused(ERRCODES.APP_MISSING, 'appid is missing');
    access.require(call, 'call', appId);
    this.#deps.broker.requireApp(appId);
    progress.appId = appId;
    try {
      access.requirePath(call, appId, target.path);
    } catch (error) {
      // Of the app it may know.
      throw error instanceof LingpaiError ? new Refused(ERRCODES.NOT_ALLOWED, error.message) : error;
    }
    if (!body) visit.proceed();
    return await this.#forward(progress, call, { appId, kind: 'secret', credential: secret, ...(body && { body }) });
  }

  async #forward(
    { visit: { request, response }, target: { path, query } }: Progress,
    call: AuditedCall,
    what: Pick<ForwardedCall, 'appId' | 'kind' | 'credential' | 'body'>,
  ): Promise<Observed> {
    const { forwarder, access, paths, failed } = this.#deps;
    const { appId } = what;
    // A call that goes on for long, with a file that is sent or fetched, ends as a stream does when its caller's right has.
    using _ = access.follow(call, {
      check: () => this.#require(call, appId, path),
      end: () => void response.destroy(),
    });
    const result = await forwarder.forward(request, response, { ...what, path, query });
    const { outcome, errcode, cured, addedMs, reason } = result;
    if (outcome === 'broken' || (outcome === 'refused' && errcode === ERRCODES.BUSY))
      failed({ appId, path: paths.labelOf(path), reason });
    access.record({ event: 'gateway.called', call, appId, outcome: errcode === null ? 'none' : String(errcode) });
    return { appId, errcode, cured, addedMs };
  }

  /** Lets a caller in by the stand-in that it shows. Throws where it may not make the call. */
  #enter(progress: Progress): { readonly call: AuditedCall; readonly appId: string; readonly credential: string } {
    const { access } = this.#deps;
    const { visit, target } = progress;
    const { socket } = visit.request;
    const credential = new URLSearchParams(target.query).get('access_token') ?? '';
    if (credential === '') throw new Refused(ERRCODES.TOKEN_MISSING, 'access_token missing');
    const { caller, appId } = this.#bearer(credential, visit.request);
    const peer = peerName(socket);
    access.admit(caller, () => peer);
    const call = { caller, peer };
    this.#require(call, appId, target.path);
    progress.appId = appId;
    return { call, appId, credential };
  }

  #bearer(credential: string, { socket }: IncomingMessage): Bearer {
    const { callers, tokens } = this.#deps;
    if (tokens === 'real' && !credential.startsWith(STAND_IN)) throw new Refused(ERRCODES.NOT_ALLOWED, REAL);
    return callers.byStandIn(credential, socket);
  }

  #require(call: AuditedCall, appId: string, path: string): void {
    const { access, broker } = this.#deps;
    access.requirePath(call, appId, path);
    broker.requireApp(appId);
  }

  /** An answer of the broker's own, within a time, and while its caller waits. */
  async #own(
    progress: Progress,
    make: (signal: AbortSignal) => Promise<Readonly<Record<string, string | number>>>,
  ): Promise<Observed> {
    const { response } = progress.visit;
    const gone = new AbortController();
    const leave = () => gone.abort(new Refused(ERRCODES.BUSY, 'the caller left'));
    response.once('close', leave);
    using limit = deadline(this.#deps.clock, OWN_TIMEOUT_MS, gone.signal, tooLate);
    const body = await make(limit.signal);
    answer(response, body);
    return { appId: progress.appId, errcode: ERRCODES.OK, cured: false, addedMs: undefined };
  }

  #refuse({ visit: { request, response }, appId }: Progress, error: unknown, stage: Stage): Observed {
    const refused = refusalOf(error, stage) ?? new Refused(ERRCODES.BUSY, 'the broker failed; its log has the cause');
    if (!refusalOf(error, stage)) this.#deps.report(error);
    const { errcode, message: errmsg } = refused;
    if (response.headersSent || response.destroyed) response.destroy();
    else answer(response, { errcode, errmsg });
    if (!request.complete && !request.destroyed) {
      const timer = this.#deps.clock.schedule(REST_MS, () => void request.destroy());
      request.once('close', () => timer.cancel());
    }
    return { appId, errcode, cured: false, addedMs: undefined };
  }
}

const NEVER = new AbortController().signal;
const NOWHERE: Target = { path: '', query: '' };
const SHOWS_SECRET = new Set(['/cgi-bin/token', '/cgi-bin/stable_token', ...SECRET_CALLS]);
const STAND_IN = 'lps1.';
const NO_URL = 'invalid url: send a path of the API of WeChat, without dots, percent signs, scheme and host';
const NOT_OURS =
  'this call shows a token of a user or a platform, in which the broker has no part: make it at api.weixin.qq.com itself';
const REAL =
  'this gateway hands out real tokens: make the call at api.weixin.qq.com itself, or set gateway.tokens to standin';

function tooLate(): LingpaiError {
  return new LingpaiError('it took too long: try again', { reason: 'GENERATION_NOT_REACHED' });
}
