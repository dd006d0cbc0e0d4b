import type { Moment, Timeline } from '../kernel/timeline.ts';
import { type CurrentToken, revive, toToken } from '../tokens/app-record.ts';
import type { Budget, Settings, StoredToken, Trouble } from '../tokens/ports.ts';
import { dueAt, type Life } from '../tokens/schedule.ts';
import type { StoredTicket, TicketKey } from './ports.ts';

/** What is known of one ticket. A ticket is dated as a token is: times are elapsed milliseconds (see Timeline). */
export interface TicketRecord {
  readonly ticket: CurrentToken | null;
  readonly budget: Budget;
  /** When WeChat was last asked. */
  readonly lastCallAt: number;
}

/** What is known of a ticket that was never asked for. */
export const NO_TICKET: TicketRecord = {
  ticket: null,
  budget: { day: 0, mints: 0, forced: 0 },
  lastCallAt: Number.NEGATIVE_INFINITY,
};

/** The record to store. */
export function toStoredTicket(
  { appId, type }: TicketKey,
  { ticket, budget, lastCallAt }: TicketRecord,
  trouble: Trouble | null,
  timeline: Timeline,
): StoredTicket {
  const lastCallTime = lastCallAt === Number.NEGATIVE_INFINITY ? 0 : timeline.wallOf(lastCallAt);
  return { appId, type, ticket: ticket && toToken(ticket, timeline), budget, lastCallTime, trouble };
}

/** A stored ticket as of now, null where it is over; `draw` in [0, 1) spreads when it is due. */
export function reviveTicket(
  stored: StoredToken | null,
  { elapsed }: Moment,
  timeline: Timeline,
  due: (life: Life) => number,
): CurrentToken | null {
  const ticket = revive(stored, elapsed, timeline);
  return ticket && { ...ticket, dueAt: due(ticket) };
}

/** When a ticket should be replaced: as a classic token, at about half its life, since a new one can be had at any time. */
export function ticketDueAt(life: Life, settings: Settings, draw: number): number {
  return dueAt(life, 'classic', settings, draw);
}
