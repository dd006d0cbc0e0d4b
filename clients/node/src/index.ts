/**
 * Holds the newest WeChat access_token of each app, as a Lingpai broker pushes it, and reports one that WeChat refused. The rules R1 to R19
 * that the comments name stand in clients/SPEC.md.
 *
 * @module
 */
export { Client, connect, type Stats, type StreamState } from './client.ts';
export {
  ClosedError,
  ConfigurationError,
  isRefusal,
  LingpaiError,
  NoTokenError,
  type NoTokenReason,
  RejectedError,
  RpcError,
  StartTimeoutError,
} from './errors.ts';
export type { LingpaiEvent, LogLine } from './observe.ts';
export type { Access, Options, Timing } from './options.ts';
export { type Report, Source } from './source.ts';
export { Token } from './token.ts';
