import type { Reason, UpstreamReason } from '../kernel/errors.ts';
import type { Channel } from './message.ts';

/** What happens to messages, for logs and metrics. It never holds an openid, a form_id, a key, a token or content. */
export type MessageEvent =
  /** `arrived`: a repeated attempt was told that the message had arrived before. */
  | { type: 'message_sent'; appId: string; channel: Channel['kind']; arrived: boolean; durationMs: number }
  /** It was certainly not sent. `errcode`: WeChat's, where it answered. `kept`: for those who repeat its key. */
  | {
      type: 'message_refused';
      appId: string;
      channel: Channel['kind'];
      reason: Reason;
      errcode: number | null;
      kept: boolean;
      durationMs: number;
    }
  | { type: 'message_unknown'; appId: string; channel: Channel['kind']; durationMs: number }
  /** The outcome of an earlier call was answered again. */
  | { type: 'message_replayed'; appId: string; channel: Channel['kind']; outcome: 'sent' | 'refused' | 'unknown' }
  /** An attempt failed and another follows. */
  | {
      type: 'message_retried';
      appId: string;
      channel: Channel['kind'];
      /** Why: WeChat was busy, it refused the token or the permit, or nobody knows whether the message arrived. */
      step: 'retry' | 'refresh' | 'redraw' | 'repeat';
      reason: Reason;
    }
  /** The circuit breaker of this app and channel has opened: messages are refused for so long. */
  | { type: 'breaker_opened'; appId: string; channel: Channel['kind']; reason: UpstreamReason; forMs: number }
  /** Somebody asked that the next message of a channel whose circuit breaker is open probe. */
  | { type: 'breaker_to_probe'; appId: string; channel: Channel['kind'] }
  /** WeChat took a message again: the circuit breaker has closed. */
  | { type: 'breaker_closed'; appId: string; channel: Channel['kind'] }
  /** `retryInMs` null: not by itself. */
  | {
      type: 'ledger_failed';
      appId: string;
      operation: 'begin' | 'lookup' | 'redraw' | 'settle';
      error: unknown;
      retryInMs: number | null;
    }
  /** A settlement that had failed is durable. */
  | { type: 'ledger_recovered'; appId: string };
