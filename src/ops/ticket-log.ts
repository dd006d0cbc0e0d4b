import type { TicketEvent } from '../core/tickets/events.ts';
import { errorFields, type Logger, type LogLevel } from './log.ts';

/** Writes one line for what happens to tickets. A ticket is named by its id. */
export function logTicketEvent(logger: Logger, event: TicketEvent): void {
  const [level, message, fields] = lineOf(event);
  logger[level]({ app_id: event.appId, ticket_type: event.ticketType, ...fields }, message);
}

type Line = readonly [Exclude<LogLevel, 'silent'>, message: string, fields: Record<string, unknown>];

function lineOf(event: TicketEvent): Line {
  switch (event.type) {
    case 'ticket_rotated':
      return ['info', 'ticket rotated', { ticket_id: event.ticketId, duration_ms: Math.round(event.durationMs) }];
    case 'ticket_adopted':
      return ['info', 'ticket adopted', { ticket_id: event.ticketId }];
    case 'ticket_token_refused':
      return ['info', 'token refused for a ticket', { token_id: event.tokenId }];
    case 'ticket_refresh_failed': {
      const { durationMs, error, retryInMs } = event;
      const times = { duration_ms: Math.round(durationMs), retry_in_ms: Math.round(retryInMs) };
      return ['warn', 'ticket refresh failed', { ...errorFields(error), ...times }];
    }
  }
}
