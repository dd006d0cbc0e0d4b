import type { TokenCall } from '../core/tokens/ports.ts';
import { type MessageCall, messageKinds } from './message-call.ts';

/**
 * The calls that the simulated WeChat knows. `classic` is `/cgi-bin/token`, the `stable` ones `/cgi-bin/stable_token`; `other`
 * is every path that it does not know.
 */
export const callKinds = ['classic', 'stable', 'stable_force', 'probe', ...messageKinds, 'other'] as const;

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
  | { readonly kind: 'probe'; readonly token: string }
  | { readonly kind: 'other'; readonly token: string; readonly path: string }
  | MessageCall;

/** One line of the call log: no secret, no token value and no openid. */
export interface CallRecord {
  /** WeChat's wall-clock time in milliseconds since 1970. */
  readonly time: number;
  readonly kind: CallKind;
  /** Empty where the token of a probe or a message is not known. */
  readonly appId: string;
  /** The errcode of the answer, 0 for success; null when a fault took the place of handling the call. */
  readonly errcode: number | null;
  /** The id of the token that the answer holds. */
  readonly tokenId: string | null;
  /** The call made a new token. */
  readonly minted: boolean;
  /** The kind of the fault that was injected into it. */
  readonly fault: string | null;
  /** Where an `other` went. */
  readonly path?: string;
}

/** How often each kind of call came, refused and faulty ones included, and how many tokens were made. */
export interface Counts extends Record<CallKind, number> {
  /** Tokens made by calls. */
  mints: number;
  /** Tokens made from outside. */
  outsideMints: number;
  /** Messages that reached their users. */
  delivered: number;
}

/** Nothing counted yet. */
export function noCounts(): Counts {
  const calls = Object.fromEntries(callKinds.map((kind) => [kind, 0])) as Record<CallKind, number>;
  return { ...calls, mints: 0, outsideMints: 0, delivered: 0 };
}
