import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { MAX_APP_IDS } from '../core/access/audit-line.ts';
import type { Audit, AuditedCall } from '../core/access/ports.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import type { AdminService } from '../gen/lingpai/v1/admin_pb.js';
import type {
  GetTicketRequest,
  GetTicketResponse,
  SignJsapiResponse,
  TicketService,
} from '../gen/lingpai/v1/ticket_pb.js';
import type {
  GetResponse,
  TokenService,
  TokenState,
  WatchTokenRequest,
  WatchTokenResponse,
} from '../gen/lingpai/v1/token_pb.js';
import { callerOf, streamControlOf } from '../transport/call.ts';
import { codeName } from '../transport/code-name.ts';
import type { Feed } from '../transport/service.ts';
import { toConnectError } from './errors.ts';
import type { MessageServiceDeps } from './message-service.ts';
import { TICKET_KINDS } from './ticket-service.ts';
import type { TokenServiceDeps } from './token-service.ts';

/** The handlers of tokenService that hand out tokens, as they are. */
interface TokenHandlers extends Pick<ServiceImpl<typeof TokenService>, 'forceRefresh'> {
  get(request: unknown, context: HandlerContext): GetResponse | Promise<GetResponse>;
  watchToken(request: WatchTokenRequest, context: HandlerContext): Feed<WatchTokenResponse>;
}

/**
 * TokenService, with each token that it hands out recorded, and each watch. Whoever is refused is to be refused before; reports
 * and refreshes are recorded by `auditedForces`.
 */
export function auditedTokens(
  impl: ServiceImpl<typeof TokenService>,
  audit: Pick<Audit, 'record'>,
): ServiceImpl<typeof TokenService> {
  const tokens = impl as TokenHandlers;
  const handedOut = (state: TokenState | undefined, call: AuditedCall) => {
    if (!state) return;
    const { appId, current, previous } = state;
    if (current) audit.record({ event: 'token.read', call, appId, tokenId: current.id });
    if (previous) audit.record({ event: 'token.read', call, appId, tokenId: previous.id });
  };
  const recorded = (response: GetResponse, context: HandlerContext) => {
    handedOut(response.state, callerOf(context));
    return response;
  };

  return {
    ...impl,

    get(request, context) {
      const response = tokens.get(request, context);
      return response instanceof Promise
        ? response.then((later) => recorded(later, context))
        : recorded(response, context);
    },

    watchToken(request, context) {
      const feed = tokens.watchToken(request, context);
      const call = callerOf(context);
      audit.record({ event: 'watch.opened', call, appIds: request.appIds });
      // Thousands of apps may be named, and the watch may last for ever.
      const appIds = request.appIds.slice(0, MAX_APP_IDS);
      streamControlOf(context).onClose(() => audit.record({ event: 'watch.closed', call, appIds }));
      return new RecordedFeed(feed, (response) => {
        if (response.event.case === 'state') handedOut(response.event.value, call);
      });
    },
  };
}

/** AdminService, with each thing recorded that an operator asks WeChat. Whoever is refused is to be refused before. */
export function auditedAdmin(
  impl: ServiceImpl<typeof AdminService>,
  audit: Pick<Audit, 'record'>,
): ServiceImpl<typeof AdminService> {
  const recorded = <Request extends { readonly appId: string }, Response>(
    event: 'quota.read' | 'quota.cleared' | 'request.read' | 'token.probed',
    method: (request: Request, context: HandlerContext) => Response | Promise<Response>,
  ) => {
    return async (request: Request, context: HandlerContext) => {
      const record = (outcome: string) =>
        audit.record({ event, call: callerOf(context), appId: request.appId, outcome });
      try {
        const response = await method(request, context);
        record('OK');
        return response;
      } catch (error) {
        record(outcomeOf(error));
        throw error;
      }
    };
  };
  return {
    ...impl,
    getQuota: recorded('quota.read', impl.getQuota),
    clearQuota: recorded('quota.cleared', impl.clearQuota),
    getRequest: recorded('request.read', impl.getRequest),
    probeToken: recorded('token.probed', impl.probeToken),
  };
}

/** The handlers of ticketService, as they are. */
interface TicketHandlers {
  getTicket(request: GetTicketRequest, context: HandlerContext): GetTicketResponse | Promise<GetTicketResponse>;
  signJsapi(request: unknown, context: HandlerContext): SignJsapiResponse | Promise<SignJsapiResponse>;
}

/** TicketService, with each ticket that it hands out recorded. A signature hands out none. */
export function auditedTickets(
  impl: ServiceImpl<typeof TicketService>,
  audit: Pick<Audit, 'record'>,
): ServiceImpl<typeof TicketService> {
  const tickets = impl as TicketHandlers;
  return {
    getTicket(request, context) {
      const recorded = (response: GetTicketResponse) => {
        const { appId, type } = request;
        const tokenId = response.ticket?.id ?? '';
        audit.record({ event: 'token.read', call: callerOf(context), appId, tokenId, kind: TICKET_KINDS[type] });
        return response;
      };
      const response = tickets.getTicket(request, context);
      return response instanceof Promise ? response.then(recorded) : recorded(response);
    },
    signJsapi: (request, context) => tickets.signJsapi(request, context),
  };
}

/** Has each report and each refresh recorded, by what the broker did: it stands, whoever gets the answer. */
export function auditedForces(audit: Pick<Audit, 'record'>): NonNullable<TokenServiceDeps['onForced']> {
  return (call, { appId, rejected }, result) => {
    const event = rejected.case === undefined ? 'token.refreshed' : 'token.reported';
    const done =
      'error' in result
        ? { tokenId: null, outcome: outcomeOf(result.error) }
        : { tokenId: result.state.current?.id ?? null, outcome: result.outcome };
    audit.record({ event, call, appId, ...done });
  };
}

/** Has each message recorded that was sent, or was not. */
export function auditedMessages(audit: Pick<Audit, 'record'>): NonNullable<MessageServiceDeps['onAnswered']> {
  return (call, appId, result) => {
    const sent = 'replayed' in result && result.replayed ? 'REPLAYED' : 'SENT';
    const outcome = 'error' in result ? outcomeOf(result.error) : sent;
    audit.record({ event: 'messages.sent', call, appId, outcome });
  };
}

/** The reason of an error, or the status that its caller gets. */
function outcomeOf(error: unknown): string {
  return error instanceof LingpaiError ? error.reason : codeName(toConnectError(error, () => {}).code);
}

/** A feed of which each response is recorded. */
class RecordedFeed<Response> implements Feed<Response> {
  readonly #feed: Feed<Response>;
  readonly #record: (response: Response) => void;

  constructor(feed: Feed<Response>, record: (response: Response) => void) {
    this.#feed = feed;
    this.#record = record;
  }

  onNews(reader: { wake(): void }): void {
    this.#feed.onNews(reader);
  }

  take(): Response | undefined {
    const response = this.#feed.take();
    if (response !== undefined) this.#record(response);
    return response;
  }

  taken(): void {
    this.#feed.taken();
  }

  [Symbol.asyncIterator](): AsyncIterator<Response> {
    const responses = this.#feed[Symbol.asyncIterator]();
    return {
      next: async () => {
        const result = await responses.next();
        if (!result.done) this.#record(result.value);
        return result;
      },
      return: async () => (await responses.return?.()) ?? { done: true, value: undefined },
    };
  }
}
