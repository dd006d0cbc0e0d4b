import { z } from 'zod';
import { type StoredTicket, TICKET_TYPES, type TicketKey } from '../core/tickets/ports.ts';
import { StoreError } from './errors.ts';
import type { Keyring } from './keyring.ts';
import { budget, parseRecord, token, trouble } from './record.ts';

const storedTicket: z.ZodType<StoredTicket> = z.object({
  appId: z.string().min(1),
  type: z.enum(TICKET_TYPES),
  ticket: token.nullable(),
  budget,
  lastCallTime: z.number(),
  trouble: trouble.nullable(),
});

/** A ticket's record as stores keep it: sealed as itself, and as no other. */
export function encodeTicket(record: StoredTicket, keyring: Keyring): string {
  return keyring.seal(record.appId, JSON.stringify(record), record.type);
}

/**
 * The record in a stored text. Throws a SealedError where no held key opens it, and a StoreError that names app, type and store where
 * it is not a whole record of this ticket.
 */
export function decodeTicket(
  { appId, type }: TicketKey,
  stored: string,
  keyring: Keyring,
  store: string,
): StoredTicket {
  const text = keyring.open(appId, stored, store, type);
  const damaged = (faults: string) =>
    new StoreError(
      `${store}: the record of the ${type} ticket of app ${appId} is damaged (${faults}). Restore the store from a backup, or move it away: the broker then asks WeChat anew.`,
    );
  const record = parseRecord(storedTicket, text, damaged);
  if (record.appId !== appId || record.type !== type) throw damaged('it belongs to another ticket');
  return record;
}

/** The type that a store names; undefined: a newer version may have put it there. */
export function ticketTypeOf(name: string): TicketKey['type'] | undefined {
  return TICKET_TYPES.find((type) => type === name);
}
