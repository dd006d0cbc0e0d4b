import { ISSUERS } from './issuers.ts';
import type { Grant, Intent, IssuerKind, TokenCall } from './ports.ts';

/** A grant and when it came about. */
export interface Issued extends Grant {
  /** Just before the request left, in elapsed milliseconds: the token's life is counted from here. */
  readonly sentAt: number;
  /** In monotonic milliseconds. */
  readonly answeredAt: number;
  /**
   * Just before the request left at which WeChat minted it, in elapsed milliseconds: the token before it lives only for the
   * overlap from here. Undefined: WeChat did not mint it at our call, or minted another in between.
   */
  readonly mintedAt: number | undefined;
  /** The intent of that mint, where replicas share the app. */
  readonly intent: Intent | undefined;
  /** For a late answer: the app's epoch when it came. Mints of later epochs began after it. Undefined: it is not late. */
  readonly seenEpoch?: number | undefined;
}

/** One call of a token endpoint; it checks budgets, spends them and rejects with UpstreamError or LingpaiError. */
export type Call = (call: TokenCall) => Promise<Issued>;

/** What replaces a token whose time has come: classic mints, stable reads. */
export function renew(issuer: IssuerKind, call: Call): Promise<Issued> {
  return call(ISSUERS[issuer].renewal);
}

/** What replaces a token that WeChat refuses. Stable is forced only when a read returns that very token. */
export async function replaceDead(issuer: IssuerKind, dead: string, call: Call): Promise<Issued> {
  const { isReadable } = ISSUERS[issuer];
  const renewed = await renew(issuer, call);
  return isReadable && renewed.value === dead ? replaceLive(issuer, dead, call) : renewed;
}

/**
 * What replaces a token that works, for an operator. WeChat may answer a forced call with the old token: what a read returns after
 * it is what everyone gets.
 */
export async function replaceLive(issuer: IssuerKind, live: string, call: Call): Promise<Issued> {
  const { isReadable, replacement } = ISSUERS[issuer];
  const minted = await call(replacement);
  if (!isReadable) return minted;
  const { value, sentAt, intent } = minted;
  const read = await renew(issuer, call);
  const isOurs = value === read.value || value === live;
  return { ...read, mintedAt: isOurs ? sentAt : undefined, intent };
}
