import { create } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { Access } from '../core/access/access.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { jsapiText } from '../core/tickets/jsapi-signature.ts';
import type { TicketType } from '../core/tickets/ports.ts';
import type { Token } from '../core/tokens/state.ts';
import * as pb from '../gen/lingpai/v1/ticket_pb.js';
import { callerOf } from '../transport/call.ts';
import { timestamp } from './token-messages.ts';
import { validateGetTicket, validateSignJsapi } from './validate.ts';
import { WaitingRoom } from './waiting-room.ts';

/** What TicketService needs of the broker. */
export interface TicketBroker {
  get(appId: string, type: TicketType, options: { signal: () => AbortSignal }): Token | Promise<Token>;
}

/** What TicketService is made of. */
export interface TicketServiceDeps {
  readonly tickets: TicketBroker;
  readonly clock: Clock;
  /** Who may do what: a caller may lose a right while it waits. Default: everyone may do everything. */
  readonly access?: Access | undefined;
  /** How many calls may wait at once for a first ticket. Default 20,000. */
  readonly maxWaiting?: number;
  /** Draws 16 characters of A-Z, a-z, 0-9, "-" and "_". */
  readonly newNonce: () => string;
  /** A text's SHA-1 in lower-case hexadecimal digits. */
  readonly sha1: (text: string) => string;
}

/** WeChat's name of a type; of what is none, nothing. */
export const TICKET_KINDS = {
  [pb.TicketType.UNSPECIFIED]: '',
  [pb.TicketType.JSAPI]: 'jsapi',
  [pb.TicketType.WX_CARD]: 'wx_card',
} as const satisfies Record<pb.TicketType, TicketType | ''>;

/** TicketService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function ticketService({ tickets, clock, ...deps }: TicketServiceDeps): ServiceImpl<typeof pb.TicketService> {
  const access = deps.access ?? Access.open(clock);
  const waiting = new WaitingRoom(clock, 'calls are waiting for a ticket', deps.maxWaiting);

  const withTicket = <R>(appId: string, type: TicketType, context: HandlerContext, answer: (ticket: Token) => R) =>
    waiting.hold(
      appId,
      context,
      (signal) => tickets.get(appId, type, { signal }),
      (ticket, hasWaited) => {
        if (hasWaited) access.requireStill(callerOf(context), 'read', appId);
        return answer(ticket);
      },
    );

  return {
    getTicket(request, context) {
      validateGetTicket(request);
      const type = TICKET_KINDS[request.type] as TicketType;
      return withTicket(request.appId, type, context, ({ value, id, issueTime, expireTime }) =>
        create(pb.GetTicketResponseSchema, {
          ticket: { value, id, issueTime: timestamp(issueTime), expireTime: timestamp(expireTime) },
          serverTime: timestamp(clock.now()),
        }),
      );
    },

    signJsapi(request, context) {
      validateSignJsapi(request);
      const { appId, url } = request;
      return withTicket(appId, 'jsapi', context, ({ value: ticket }) => {
        const nonce = deps.newNonce();
        const seconds = Math.floor(clock.now() / 1000);
        const signature = deps.sha1(jsapiText({ ticket, nonce, timestamp: seconds, url }));
        return create(pb.SignJsapiResponseSchema, { appId, timestamp: BigInt(seconds), nonce, signature });
      });
    },
  };
}
