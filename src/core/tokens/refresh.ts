import type { RefreshCause } from './events.ts';

/** How a refresh that did not fail ended. */
export type RefreshResult =
  /** There is a new generation. */
  | 'rotated'
  /** Another replica has brought a new generation. */
  | 'superseded'
  /** WeChat answered with the token that is held. */
  | 'unchanged'
  /** WeChat was asked about the token and accepts it. */
  | 'accepted'
  /** WeChat could not be asked about the token. */
  | 'unknown';

/** One refresh in progress, shared by all who want its result. */
export interface Refresh {
  readonly cause: RefreshCause;
  /** Settles when the result has been published. A refresh that fails rejects for all who joined it. */
  readonly completion: Promise<RefreshResult>;
  /** Ends it; those who joined get `reason`. */
  abort(reason: Error): void;
}
