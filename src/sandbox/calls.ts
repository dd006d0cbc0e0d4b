import type { TokenCall } from '../core/ports.ts';

/** The calls that the simulated WeChat knows. `classic` is `/cgi-bin/token`, the `stable` ones `/cgi-bin/stable_token`. */
export const callKinds = ['classic', 'stable', 'stable_force', 'probe'] as const;

/** A kind of call. */
export type CallKind = (typeof callKinds)[number];

/** A call as it reached WeChat. Missing parameters are empty. */
export type Call =
  | {
      readonly kind: TokenCall;
      readonly grantType: string;
      readonly appId: string;
      readonly secret: string;
      /** The caller's address. */
      readonly ip: string;
    }
  | { readonly kind: 'probe'; readonly token: string };

/** One line of the call log: no secret and no token value. */
export interface CallRecord {
  /** WeChat's wall-clock time in milliseconds since 1970. */
  readonly time: number;
  readonly kind: CallKind;
  /** Empty where a probe's token is not known. */
  readonly appId: string;
  /** The errcode of the answer, 0 for success; null when a fault took the place of handling the call. */
  readonly errcode: number | null;
  /** The id of the token that the answer holds. */
  readonly tokenId: string | null;
  /** The call made a new token. */
  readonly minted: boolean;
  /** The kind of the fault that was injected into it. */
  readonly fault: string | null;
}

/** How often each kind of call came, refused and faulty ones included, and how many tokens were made. */
export interface Counts extends Record<CallKind, number> {
  /** Tokens made by calls. */
  mints: number;
  /** Tokens made from outside. */
  outsideMints: number;
}

/** Nothing counted yet. */
export function noCounts(): Counts {
  return { classic: 0, stable: 0, stable_force: 0, probe: 0, mints: 0, outsideMints: 0 };
}
