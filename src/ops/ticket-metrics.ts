import type { TicketEvent } from '../core/tickets/events.ts';
import type { TicketState } from '../core/tickets/tickets.ts';
import { AppCounter } from './app-counter.ts';

/** What is counted of tickets. */
export interface TicketMetrics {
  /** Counts an event. */
  observe(event: TicketEvent): void;
  /** Those by app, which are not in the registry. */
  readonly perApp: readonly AppCounter[];
}

/** Counts what happens to tickets. Series come with a ticket's first call: most apps have none. */
export function createTicketMetrics(): TicketMetrics {
  const refreshes = new AppCounter({
    name: 'lingpai_ticket_refreshes_total',
    help: 'Times a ticket was to be fetched, by type and by what came of it: rotated; adopted, from another replica; failed.',
    labelNames: ['type', 'result'],
    starts: [],
  });
  return {
    perApp: [refreshes],
    observe(event) {
      if (event.type === 'ticket_token_refused') return;
      const { appId, ticketType } = event;
      refreshes.begin(appId, [[ticketType, 'failed']]);
      refreshes.inc(
        appId,
        ticketType,
        event.type === 'ticket_refresh_failed' ? 'failed' : event.type.slice('ticket_'.length),
      );
    },
  };
}

/** How long each ticket that is kept lives yet, in Prometheus' text format, as of `now` (wall-clock milliseconds). */
export function* ticketGaugeLines(
  tickets: Iterable<TicketState>,
  appIds: ReadonlySet<string>,
  now: number,
): Generator<string> {
  yield '# HELP lingpai_ticket_seconds_left Seconds until a ticket that was asked for expires; 0 when there is none.';
  yield '# TYPE lingpai_ticket_seconds_left gauge';
  for (const { appId, type, ticket } of tickets) {
    if (!appIds.has(appId)) continue;
    const seconds = ticket ? Math.max(0, ticket.expireTime - now) / 1000 : 0;
    yield `lingpai_ticket_seconds_left{app_id="${appId}",type="${type}"} ${seconds}`;
  }
}
