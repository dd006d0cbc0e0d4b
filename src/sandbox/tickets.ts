/** What a ticket is for: web pages, or cards. */
export const TICKET_TYPES = ['jsapi', 'wx_card'] as const;

/** A type of ticket. */
export type TicketType = (typeof TICKET_TYPES)[number];

/** A ticket that was handed out. Times are WeChat's wall-clock milliseconds since 1970. */
export interface Ticket {
  readonly type: TicketType;
  readonly value: string;
  /** The first 12 hexadecimal digits of the value's SHA-256. */
  readonly id: string;
  readonly issuedAt: number;
  readonly endsAt: number;
}

/** Tickets that are remembered of each type. */
const KEPT = 16;

/** The tickets of one app. Each lives to its end, whatever becomes of later ones and of the token it was fetched with. */
export class Tickets {
  #tickets: Ticket[] = [];

  /** Hands out one. Of its type the last 16 are remembered. */
  add(ticket: Ticket): void {
    const same = this.#tickets.filter(({ type }) => type === ticket.type);
    const rest = this.#tickets.filter(({ type }) => type !== ticket.type);
    this.#tickets = [ticket, ...same.slice(0, KEPT - 1), ...rest];
  }

  /** Those that are remembered, of each type the newest first. */
  get all(): readonly Ticket[] {
    return this.#tickets;
  }

  /** Whether a ticket is good. */
  honours(type: TicketType, value: string, now: number): boolean {
    return this.#tickets.some((each) => each.type === type && each.value === value && now < each.endsAt);
  }
}
