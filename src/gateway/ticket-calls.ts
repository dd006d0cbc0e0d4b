import type { Clock } from '../core/kernel/clock.ts';
import type { GatewayDeps, TicketType } from './ports.ts';

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
  return type === 'jsapi' || type === 'wx_card' ? type : undefined;
}

/** An app's ticket, which the broker keeps. Rejects with a LingpaiError. */
export async function ticketAnswer(
  ticket: NonNullable<GatewayDeps['ticket']>,
  { appId, type, signal, clock }: { appId: string; type: TicketType; signal: AbortSignal; clock: Clock },
): Promise<TicketAnswer> {
  const { value, expireTime } = await ticket(appId, type, signal);
  const seconds = Math.floor((expireTime - clock.now()) / 1000);
  return { errcode: 0, errmsg: 'ok', ticket: value, expires_in: Math.max(1, seconds) };
}
