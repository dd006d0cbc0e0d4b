import type { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { ForceOutcome, Status } from './state.ts';
import type { TrialResult } from './trial.ts';

/** Why WeChat is asked for a token. */
export type RefreshCause =
  /** There is none, or its time has come. */
  | 'scheduled'
  /** A caller reported the token. */
  | 'report'
  /** The broker's own probe found the token dead. */
  | 'probe'
  /** An operator asked for a new one. */
  | 'operator';

/** What happens in the broker, for logs and metrics. It never holds a token value or a secret. */
export type BrokerEvent =
  | {
      type: 'rotated';
      appId: string;
      generation: number;
      tokenId: string;
      cause: RefreshCause;
      durationMs: number;
      /** From WeChat's answer until it was stored; null: the store has not taken it yet. */
      storedAfterMs: number | null;
    }
  /** WeChat answered with the current token. */
  | { type: 'unchanged'; appId: string; cause: RefreshCause; durationMs: number }
  | {
      type: 'refresh_failed';
      appId: string;
      cause: RefreshCause;
      durationMs: number;
      error: UpstreamError | LingpaiError;
      /** When it is tried again; null: not by itself. */
      retryInMs: number | null;
    }
  | {
      type: 'probed';
      appId: string;
      tokenId: string;
      cause: 'report' | 'probe';
      verdict: 'accepted' | 'rejected' | 'unknown';
    }
  /** Several probes in a row got no verdict; `error` is the last one's. Told once, until WeChat says something again. */
  | { type: 'probes_unanswered'; appId: string; error: UpstreamError }
  /** What WeChat says of a secret that a reload has changed; `error`: why it does not accept it. */
  | { type: 'secret_tried'; appId: string; result: TrialResult; error: UpstreamError | undefined }
  | { type: 'force_refresh'; appId: string; result: ForceOutcome | 'FAILED' }
  /** A token died before its time and nobody here replaced it. */
  | { type: 'outside_mint'; appId: string; tokenId: string }
  | { type: 'status'; appId: string; from: Status; to: Status; reason: string }
  | { type: 'store_failed'; appId: string; error: unknown; retryInMs: number | null }
  | { type: 'store_recovered'; appId: string }
  | { type: 'app_added' | 'app_changed' | 'app_removed'; appId: string }
  /** The store that the replicas share does not answer polls; `isNew` false: as before, and now for another reason. */
  | { type: 'store_away'; error: unknown; isNew: boolean }
  | { type: 'store_reached' }
  /** It came back without the last so many changes of records that it had taken. */
  | { type: 'store_went_back'; changes: number }
  /** A write to it lost to another replica's, and is made again on top of that. */
  | { type: 'set_lost'; appId: string }
  /** Another replica was silent for a whole lease: it is dead. */
  | { type: 'replica_died'; replica: string }
  /** Another replica's token was taken into use, so long after it was stored. */
  | { type: 'adopted'; appId: string; generation: number; tokenId: string; delayMs: number }
  /** Tokens were minted in an unknown order; one more mint, alone, decides which is the newest. */
  | { type: 'provisional'; appId: string; dueInMs: number }
  | { type: 'confirmed'; appId: string }
  /** The wall clock moved against the monotonic one: it was set, or the machine slept. */
  | { type: 'clock_jumped'; byMs: number };
