import type { MessageEvent } from '../core/messages/events.ts';
import { errorFields, type Logger, type LogLevel } from './log.ts';

/** Writes one line for what happens to messages. No line says to whom a message goes or what it says. */
export function logMessageEvent(logger: Logger, event: MessageEvent): void {
  const [level, message, fields] = lineOf(event);
  logger[level](fields, message);
}

type Line = readonly [Exclude<LogLevel, 'silent'>, message: string, fields: Record<string, unknown>];

function lineOf(event: MessageEvent): Line {
  const app = { app_id: event.appId, ...('channel' in event && { channel: event.channel }) };
  switch (event.type) {
    case 'message_sent': {
      const { arrived, durationMs } = event;
      return ['debug', 'message sent', { ...app, arrived, duration_ms: Math.round(durationMs) }];
    }
    case 'message_refused': {
      const { reason, errcode, kept, durationMs } = event;
      // What WeChat never saw is the caller's to see: of a hundred thousand that are over a limit none is worth a line.
      const level = errcode === null ? 'debug' : 'info';
      return [level, 'message refused', { ...app, reason, errcode, kept, duration_ms: Math.round(durationMs) }];
    }
    case 'message_unknown':
      return ['warn', 'fate of a message unknown', { ...app, duration_ms: Math.round(event.durationMs) }];
    case 'message_replayed':
      return ['debug', 'outcome of a message answered again', { ...app, outcome: event.outcome }];
    case 'message_retried':
      return ['info', 'message tried again', { ...app, step: event.step, reason: event.reason }];
    case 'breaker_opened':
      return ['warn', 'channel closed', { ...app, reason: event.reason, for_ms: Math.round(event.forMs) }];
    case 'breaker_to_probe':
      return ['info', 'closed channel to be tried again', app];
    case 'breaker_closed':
      return ['info', 'channel opened', app];
    case 'ledger_failed': {
      const { operation, error, retryInMs } = event;
      const retry = { retry_in_ms: retryInMs === null ? null : Math.round(retryInMs) };
      const message = operation === 'lookup' ? 'ledger read failed' : 'ledger write failed';
      return ['error', message, { ...app, operation, ...errorFields(error), ...retry }];
    }
    case 'ledger_recovered':
      return ['info', 'ledger write succeeded again', app];
  }
}
