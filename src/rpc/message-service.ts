import { create } from '@bufbuild/protobuf';
import type { ConnectError, ServiceImpl } from '@connectrpc/connect';
import type { Clock } from '../core/kernel/clock.ts';
import type { Message } from '../core/messages/message.ts';
import { ledgerError } from '../core/messages/message-errors.ts';
import type { Ledger } from '../core/messages/ports.ts';
import type { SendResult } from '../core/messages/sender.ts';
import { review } from '../core/review/review.ts';
import type { ReviewWords } from '../core/review/words.ts';
import {
  DepositPermitsResponseSchema,
  type MessageService,
  ReviewTemplateResponseSchema,
  type SendTemplatesRequest,
  type SendTemplatesResponse,
  SendTemplatesResponseSchema,
} from '../gen/lingpai/v1/message_pb.js';
import {
  toCountPermitsResponse,
  toMessage,
  toPermit,
  toSendFailure,
  toSendTemplateResponse,
} from './message-mapping.ts';
import { SendStream } from './send-stream.ts';
import {
  validateCountPermits,
  validateDepositPermits,
  validateReviewTemplate,
  validateSendTemplate,
  validateSendTemplates,
} from './validate-message.ts';

/** What MessageService is made of. */
export interface MessageServiceDeps {
  /** Sends one message; see Sender. */
  readonly sender: { send(message: Message, signal: AbortSignal): Promise<SendResult> };
  readonly ledger: Pick<Ledger, 'deposit' | 'count'>;
  readonly clock: Clock;
  /** Throws APP_NOT_FOUND unless the app is configured. */
  readonly requireApp: (appId: string) => void;
  /** A name that no other consent has or had. */
  readonly newId: () => string;
  readonly reviewWords: ReviewWords;
  /** How many messages of one stream may be under way, or answered and not read; at least 1. */
  readonly streamLimit: number;
  /** Aborts when the broker drains: its reason is what streams then end with. */
  readonly draining: AbortSignal;
  /** Translates an error of one message of a stream. */
  readonly toError: (error: unknown) => ConnectError;
  /** Told of a fault that the caller learns only the reason of. */
  readonly report: (error: unknown) => void;
}

/** MessageService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function messageService(deps: MessageServiceDeps): ServiceImpl<typeof MessageService> {
  const { sender, clock, newId } = deps;

  /** One message of a stream, answered whatever becomes of it. */
  async function answer(request: SendTemplatesRequest, signal: AbortSignal): Promise<SendTemplatesResponse> {
    const { correlationId } = request;
    try {
      validateSendTemplates(request);
      const result = await sender.send(toMessage(request.message), signal);
      const outcome = { case: 'sent', value: toSendTemplateResponse(result) } as const;
      return create(SendTemplatesResponseSchema, { correlationId, outcome });
    } catch (error) {
      const outcome = { case: 'failure', value: toSendFailure(deps.toError(error)) } as const;
      return create(SendTemplatesResponseSchema, { correlationId, outcome });
    }
  }

  /** The ledger's answer about a configured app. */
  async function askLedger<T>(appId: string, ask: (ledger: MessageServiceDeps['ledger']) => Promise<T>): Promise<T> {
    deps.requireApp(appId);
    try {
      return await ask(deps.ledger);
    } catch (error) {
      deps.report(error);
      throw ledgerError(appId, error);
    }
  }

  return {
    async sendTemplate(request, context) {
      validateSendTemplate(request);
      return toSendTemplateResponse(await sender.send(toMessage(request), context.signal));
    },

    sendTemplates(requests, context) {
      // Messages that are read and not begun when the caller goes are not sent: the signal tells the sender.
      const send = (request: SendTemplatesRequest) => answer(request, context.signal);
      return new SendStream(requests, { send, limit: deps.streamLimit, draining: deps.draining });
    },

    async depositPermits(request) {
      const now = clock.now();
      validateDepositPermits(request, now);
      const permits = request.permits.map((permit) => toPermit(permit, now, newId));
      const usable = permits.filter(({ expireTime }) => expireTime === null || expireTime > now);
      const counts = await askLedger(request.appId, (ledger) => ledger.deposit(request.appId, usable));
      return create(DepositPermitsResponseSchema, { ...counts, expired: permits.length - usable.length });
    },

    async countPermits(request) {
      validateCountPermits(request);
      const { appId, toUser } = request;
      const ask = (ledger: MessageServiceDeps['ledger']) => ledger.count(appId, toUser || undefined, clock.now());
      return toCountPermitsResponse(await askLedger(appId, ask));
    },

    reviewTemplate(request) {
      validateReviewTemplate(request);
      const { title, keywords, existingTitles } = request;
      const findings = review({ title, keywords, existingTitles }, deps.reviewWords);
      return create(ReviewTemplateResponseSchema, { findings });
    },
  };
}
