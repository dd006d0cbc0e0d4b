import type { IncomingMessage } from 'node:http';
import type { AuditedCall } from '../core/access/ports.ts';
import { abortable } from '../core/kernel/abortable.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import type { TokenState } from '../core/tokens/state.ts';
import type { Witness } from '../core/tokens/suspicion.ts';
import { isKnownDead } from '../core/tokens/view.ts';
import { nameOf } from '../transport/call.ts';
import { peerName } from '../transport/peer.ts';
import { ERRCODES, Refused } from './answers.ts';
import type { GatewayDeps } from './ports.ts';

/** What a token call asks for. What else it says is ignored. */
export interface TokenWish {
  readonly grantType: string;
  readonly appId: string;
  readonly secret: string;
  /** The caller was refused the token that it has. */
  readonly isReport: boolean;
}

/** The answer to a token call, as WeChat writes it. */
export interface TokenAnswer extends Readonly<Record<string, string | number>> {
  readonly access_token: string;
  readonly expires_in: number;
}

/** The wish in the query of `GET /cgi-bin/token`. */
export function wishInQuery(query: string): TokenWish {
  const parameters = new URLSearchParams(query);
  const text = (name: string) => parameters.get(name) ?? '';
  return { grantType: text('grant_type'), appId: text('appid'), secret: text('secret'), isReport: false };
}

/** The wish in the body of `POST /cgi-bin/stable_token`. Throws Refused where it is no JSON object. */
export function wishInBody(body: Buffer): TokenWish {
  const fields = objectIn(body);
  const text = (name: string) => (typeof fields[name] === 'string' ? fields[name] : '');
  const isReport = fields['force_refresh'] === true;
  return { grantType: text('grant_type'), appId: text('appid'), secret: text('secret'), isReport };
}

function objectIn(body: Buffer): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // As below: what is wrong with it may be told by what it holds.
  }
  throw new Refused(ERRCODES.BODY_WRONG, 'the body is no JSON object in UTF-8');
}

/** How long a stand-in is said to live. It lives as long as its key does. */
const STAND_IN_SECONDS = 7_200;
/** So much sooner a real token is said to end: answers take their time. */
const MARGIN_MS = 5_000;

/** Answers calls for tokens: each shows a secret, by which the broker knows its caller. */
export class TokenCalls {
  readonly #deps: GatewayDeps;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
  }

  /**
   * The answer. `met` is told for which app, once the caller may know of it. Throws, or rejects with, a Refused or a LingpaiError.
   */
  async answer(
    wish: TokenWish,
    { socket }: IncomingMessage,
    signal: AbortSignal,
    met: (appId: string) => void,
  ): Promise<TokenAnswer> {
    const { callers, access, broker, tokens } = this.#deps;
    const { appId, secret } = wish;
    const peer = peerName(socket);
    const found = callers.bySecret(secret, socket);
    const caller = found instanceof Promise ? await abortable(found, signal) : found;
    access.admit(caller, () => peer);
    const call = { caller, peer };
    if (appId === '') throw new Refused(ERRCODES.APP_MISSING, 'appid is missing');
    access.require(call, tokens === 'real' ? 'read' : 'call', appId);
    if (wish.grantType !== 'client_credential')
      throw new Refused(ERRCODES.GRANT_TYPE_WRONG, 'grant_type must be client_credential');
    broker.requireApp(appId);
    met(appId);
    if (tokens === 'real') return await this.#real(call, appId, signal, wish.isReport ? 'caller' : 'nobody');
    const standIn = callers.standInFor(caller, secret, appId);
    if (standIn === undefined) throw new Refused(ERRCODES.KEY_WRONG, NO_STAND_IN);
    // Whatever comes of it: the stand-in is good. No caller has seen what WeChat says of the token: that is the forwarder's to report.
    if (wish.isReport) await this.#report(call, appId, signal, 'nobody').catch(() => {});
    return { access_token: standIn, expires_in: STAND_IN_SECONDS };
  }

  /**
   * The token itself. That it is fetched again is all that an SDK tells of a token that WeChat refused: WeChat is asked before it
   * is handed out, once for all who ask meanwhile. Where WeChat does not say, and is not known to refuse it, it is handed out: most
   * fetch because they have none, and a token that is good must not be replaced for it.
   */
  async #real(call: AuditedCall, appId: string, signal: AbortSignal, witness: Witness): Promise<TokenAnswer> {
    const { access, broker, clock, overlapMs } = this.#deps;
    const state = await this.#report(call, appId, signal, witness).catch(async (error: unknown) => {
      if (!(error instanceof LingpaiError) || error.reason === 'APP_NOT_FOUND') throw error;
      const held = broker.get(appId, { signal: () => signal });
      if (held instanceof Promise) {
        held.catch(() => {});
        throw error;
      }
      if (isKnownDead(held)) throw error;
      return held;
    });
    // The caller may have lost its right while it waited.
    access.requireStill(call, 'read', appId);
    const { current } = state;
    if (!current)
      throw new LingpaiError('there is no token now: try again', { reason: 'GENERATION_NOT_REACHED', appId });
    access.record({ event: 'token.read', call, appId, tokenId: current.id });
    return { access_token: current.value, expires_in: expiresIn(state, clock.now(), overlapMs) };
  }

  /** Has WeChat asked about the current token, and resolves with the state that has the newest one. */
  async #report(call: AuditedCall, appId: string, signal: AbortSignal, witness: Witness): Promise<TokenState> {
    const { access, broker } = this.#deps;
    const held = await broker.get(appId, { signal: () => signal });
    if (!held.current) return held;
    const rejected = { kind: 'token', token: held.current.value, witness, reporter: nameOf(call) } as const;
    const { state, outcome } = await broker.forceRefresh(appId, rejected, signal);
    if (outcome === 'REFRESHED' || outcome === 'JOINED')
      access.record({ event: 'token.reported', call, appId, tokenId: state.current?.id ?? null, outcome });
    return state;
  }
}

const NO_STAND_IN =
  'what was sent as secret is good, and signs nothing: for this gateway use a key of the broker, or a client certificate';

/**
 * How many seconds a token is said to live: no longer than WeChat honours it, which may replace it before its end. At least 1,
 * since some SDKs take 0 for ever.
 */
export function expiresIn(
  { current, nextRefreshTime }: Pick<TokenState, 'current' | 'nextRefreshTime'>,
  now: number,
  overlapMs: number,
): number {
  const replaced = nextRefreshTime === null ? Number.POSITIVE_INFINITY : nextRefreshTime + overlapMs;
  const end = Math.min(current?.expireTime ?? now, replaced) - MARGIN_MS;
  return Math.max(1, Math.floor((end - now) / 1000));
}
