import { channel } from 'node:diagnostics_channel';
import type { NoTokenReason } from './errors.ts';

/** What `onEvent` is told (R17). Nothing here is a value of a token. */
export type LingpaiEvent =
  /** An app's state changed. */
  | {
      readonly type: 'state';
      readonly app: string;
      readonly state: 'HELD' | 'NONE';
      readonly generation: bigint;
      /** Empty without a token. */
      readonly tokenId: string;
      /** Empty with a token. */
      readonly reason: NoTokenReason | '';
    }
  /** A stream brought its first message after one was lost. */
  | { readonly type: 'reconnect' }
  | { readonly type: 'goaway'; readonly afterMs: number }
  | { readonly type: 'report'; readonly app: string; readonly outcome: string }
  | {
      readonly type: 'error';
      readonly during: 'watch' | 'report' | 'get';
      readonly code: string;
      readonly reason: string;
      readonly message: string;
      /** Milliseconds until it is tried again; 0 where it is not. */
      readonly retryInMs: number;
    }
  | { readonly type: 'closed' };

/** A line of this library's log, published on the diagnostics channel `lingpai:log`. */
export interface LogLine {
  readonly level: 'info' | 'warn';
  /** Constant text. */
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const lines = channel('lingpai:log');

/** Publishes a line to whoever subscribed to `lingpai:log` with node:diagnostics_channel. */
export function log(level: LogLine['level'], message: string, fields: LogLine['fields'] = {}): void {
  if (lines.hasSubscribers) lines.publish({ level, message, fields } satisfies LogLine);
}
