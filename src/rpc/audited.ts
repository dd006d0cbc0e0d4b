import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import { MAX_APP_IDS } from '../core/access/audit-line.ts';
import type { Audit, AuditedCall } from '../core/access/ports.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
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
