import type { Budget, IssuerKind, TokenCall } from './ports.ts';

/** A call that makes WeChat issue a new token. */
export type MintCall = Exclude<TokenCall, 'stable'>;

/** What differs between the places that tokens come from. A new one is a row of `ISSUERS` here and its calls in the adapter. */
export interface IssuerTraits {
  /** What is asked for a token, or for its successor. */
  readonly renewal: TokenCall;
  /** What has a token replaced that works. */
  readonly replacement: MintCall;
  /**
   * Whether `renewal` only reads: it costs nothing, replaces nothing, and what it brings is always the token of now. Otherwise each
   * renewal mints, and the token before it lives only for the overlap.
   */
  readonly isReadable: boolean;
  /** When there is a successor: whenever it is asked for, or only near the end of the token's life. */
  readonly successor: 'any_time' | 'near_end';
}

export const ISSUERS: Readonly<Record<IssuerKind, IssuerTraits>> = {
  stable: { renewal: 'stable', replacement: 'stable_force', isReadable: true, successor: 'near_end' },
  classic: { renewal: 'classic', replacement: 'classic', isReadable: false, successor: 'any_time' },
};

/** Every issuer; the first is the one to prefer. */
export const ISSUER_KINDS = Object.keys(ISSUERS) as [IssuerKind, ...IssuerKind[]];

/** A read that tells whether a secret is right, and touches no token of any issuer. */
export const SECRET_TRIAL: TokenCall = 'stable';

/** What differs between the calls that mint. */
export interface MintTraits {
  /** Which of the day's counts it adds to. */
  readonly spends: keyof Omit<Budget, 'day'>;
  /** The setting that limits the count. */
  readonly limit: 'refresh.daily_budget' | 'refresh.force_daily_budget';
  /** WeChat does not mint again for a call that comes sooner after the last, in milliseconds. */
  readonly spacingMs: number;
}

/** WeChat does not refresh again for a `force_refresh` that comes sooner after the last. */
export const STABLE_FORCE_SPACING_MS = 30_000;

export const MINTS: Readonly<Record<MintCall, MintTraits>> = {
  classic: { spends: 'mints', limit: 'refresh.daily_budget', spacingMs: 0 },
  stable_force: { spends: 'forced', limit: 'refresh.force_daily_budget', spacingMs: STABLE_FORCE_SPACING_MS },
};

/** Whether a call has WeChat mint beside its own schedule, which it may refuse for a while without refusing reads. */
export function isForced(call: TokenCall): boolean {
  return isMint(call) && MINTS[call].spends === 'forced';
}

/** Whether a call mints; else it reads. */
export function isMint(call: TokenCall): call is MintCall {
  return call in MINTS;
}
