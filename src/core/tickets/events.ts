import type { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { BrokerEvent } from '../tokens/events.ts';
import type { TicketType } from './ports.ts';

/** What happens to tickets, for logs and metrics. It never holds a value. */
export type TicketEvent =
  /** WeChat answered with a ticket, and it is in use. */
  | { type: 'ticket_rotated'; appId: string; ticketType: TicketType; ticketId: string; durationMs: number }
  /** Another replica's ticket was taken into use. */
  | { type: 'ticket_adopted'; appId: string; ticketType: TicketType; ticketId: string }
  /** WeChat refused the token that a ticket was asked for with; the token was reported. */
  | { type: 'ticket_token_refused'; appId: string; ticketType: TicketType; tokenId: string }
  | {
      type: 'ticket_refresh_failed';
      appId: string;
      ticketType: TicketType;
      durationMs: number;
      error: UpstreamError | LingpaiError;
      /** When it is tried again. */
      retryInMs: number;
    };

/** Whether it is a ticket that something happened to, and not the store. */
export function isTicketEvent(event: TicketEvent | BrokerEvent): event is TicketEvent {
  return 'ticketType' in event;
}
