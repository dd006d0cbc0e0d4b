import type { TicketType } from '../core/tickets/ports.ts';
import type { Grant } from '../core/tokens/ports.ts';
import { readCredential, readExpiresIn } from './answers.ts';
import { ticketError } from './errcodes.ts';
import type { Answer } from './exchange.ts';
import { assertOk, readFields } from './fields.ts';
import { tokenId } from './token-id.ts';

/** The path and query of the call that fetches a ticket. */
export function ticketPath(type: TicketType, token: string): string {
  return `/cgi-bin/ticket/getticket?${new URLSearchParams({ access_token: token, type })}`;
}

/** The ticket in getticket's answer, named as a token is. Throws the UpstreamError that says why there is none. */
export function readTicket(answer: Answer, token: string): Grant {
  const fields = readFields(answer, [token]);
  // No error is to show a ticket, should WeChat send one beside an errcode.
  const secrets = typeof fields.ticket === 'string' ? [token, fields.ticket] : [token];
  assertOk(answer, fields, secrets, ticketError);
  const value = readCredential(fields.ticket, 'ticket');
  return { value, id: tokenId(value), lifetimeMs: readExpiresIn(fields.expires_in) * 1000 };
}
