export { type Client, connect } from './client.ts';
export {
  ClosedError,
  ConfigurationError,
  isRejection,
  NoTokenError,
  type NoTokenReason,
  RejectedError,
  RpcError,
  StartTimeoutError,
} from './errors.ts';
export type { AppStats, ClientEvent, Stats } from './events.ts';
export type { Options, Timing } from './options.ts';
export type { Report, Source } from './source.ts';
export { Token } from './token.ts';
