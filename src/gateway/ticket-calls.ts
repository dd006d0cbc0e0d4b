import { TICKET_TYPES, type TicketType } from '../core/tickets/ports.ts';
import type { Token } from '../core/tokens/state.ts';

/** The answer to getticket, as WeChat writes it. */
export interface TicketAnswer extends Readonly<Record<string, string | number>> {
  readonly errcode: 0;
  readonly errmsg: 'ok';
  readonly ticket: string;
  readonly expires_in: number;
}

/** The type of ticket that a query asks for, if the broker keeps such; undefined: that is WeChat's affair. */
export function ticketType(query: string): TicketType | undefined {
  const type = new URLSearchParams(query).get('type');
  return TICKET_TYPES.find((known) => known === type);
}

/** A ticket as getticket tells of it, at this wall-clock time. */
export function ticketAnswer({ value, expireTime }: Token, now: number): TicketAnswer {
  const seconds = Math.floor((expireTime - now) / 1000);
  return { errcode: 0, errmsg: 'ok', ticket: value, expires_in: Math.max(1, seconds) };
}
