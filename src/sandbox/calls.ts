import type { TokenCall } from '../core/tokens/ports.ts';
import { type MessageCall, messageKinds } from './message-call.ts';

/** The calls that bear an app's token and send no message, without `other`, which is every path that is not known. */
const businessKinds = [
  'probe',
  'callback_ip',
  'ticket',
  'clear_quota',
  'quota',
  'rid',
  'menu',
  'media_upload',
  'media_get',
] as const;

/** The calls that carry the AppSecret, and are for no token of the app. */
const secretKinds = ['clear_quota_v2', 'jscode2session', 'oauth2'] as const;

/**
 * The calls that the simulated WeChat knows. `classic` is `/cgi-bin/token`, the `stable` ones `/cgi-bin/stable_token`; paths.ts
 * has the others.
 */
export const callKinds = [
  'classic',
  'stable',
  'stable_force',
  ...messageKinds,
  ...businessKinds,
  ...secretKinds,
  'other',
] as const;

/** A kind of call. */
export type CallKind = (typeof callKinds)[number];

/** A call as it reached WeChat. Missing parameters are empty. */
export type Call = GrantCall | SecretCall | BusinessCall | MessageCall;

/** A call for a token. */
export interface GrantCall {
  readonly kind: TokenCall;
  readonly grantType: string;
  readonly appId: string;
  readonly secret: string;
  /** The caller's address. */
  readonly ip: string;
}

/** A call that carries the AppSecret. */
export type SecretCall = { readonly appId: string; readonly secret: string } & (
  | { readonly kind: 'clear_quota_v2' }
  | { readonly kind: 'jscode2session' | 'oauth2'; readonly grantType: string; readonly code: string }
);

/** A call with a token that sends no message. */
export type BusinessCall = { readonly token: string; readonly path: string } & (
  | { readonly kind: 'probe' | 'callback_ip' | 'menu' | 'other' }
  | { readonly kind: 'ticket'; readonly type: string }
  /** `cleared`: the app whose quotas are to be cleared. */
  | { readonly kind: 'clear_quota'; readonly cleared: string }
  | { readonly kind: 'quota'; readonly cgiPath: string }
  | { readonly kind: 'rid'; readonly rid: string }
  /** Without `file`: the body has none. */
  | { readonly kind: 'media_upload'; readonly type: string; readonly file: Buffer | undefined }
  | { readonly kind: 'media_get'; readonly mediaId: string }
);

/** One line of the call log: no secret, no token value and no openid. */
export interface CallRecord {
  /** WeChat's wall-clock time in milliseconds since 1970. */
  readonly time: number;
  readonly kind: CallKind;
  /** Empty where the token is not known. */
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
