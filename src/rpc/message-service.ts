import { create } from '@bufbuild/protobuf';
import type { ConnectError, ServiceImpl } from '@connectrpc/connect';
import { Access } from '../core/access/access.ts';
import type { AuditedCall } from '../core/access/ports.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { Message } from '../core/messages/message.ts';
import { ledgerError, permitLimitError } from '../core/messages/message-errors.ts';
import type { Ledger } from '../core/messages/ports.ts';
import type { SendResult } from '../core/messages/sender.ts';
import { Effort } from '../core/review/effort.ts';
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
import { callerOf, nameOf } from '../transport/call.ts';
import {
  toCountPermitsResponse,
  toMessage,
  toPermit,
  toSendFailure,
  toSendTemplateResponse,
} from './message-mapping.ts';
import { SendStream } from './send-stream.ts';
import { invalidError } from './validate.ts';
import {
  validateCountPermits,
  validateDepositPermits,
  validateReviewTemplate,
  validateSendTemplate,
  validateSendTemplates,
} from './validate-message.ts';

/** A name that is too long comes back so far, in UTF-16 units: answers wait for their reader. */
const MAX_ECHO = 1_024;

/** What MessageService is made of. */
export interface MessageServiceDeps {
  /** Sends one message; see Sender. */
  readonly sender: { send(message: Message, signal: AbortSignal): Promise<SendResult> };
  readonly ledger: Pick<Ledger, 'deposit' | 'count'>;
  readonly clock: Clock;
  /** Who may do what: a caller may lose a right while its message waits. Default: everyone may do everything. */
  readonly access?: Access | undefined;
  /** Throws APP_NOT_FOUND unless the app is configured. */
  readonly requireApp: (appId: string) => void;
  /** A name that no other consent has or had. */
  readonly newId: () => string;
  /** How many permits with uses left an app may have. */
  readonly maxPermits: number;
  readonly reviewWords: ReviewWords;
  /** Resolves when other callers have had their turn: a long review awaits it again and again. */
  readonly pause: () => Promise<void>;
  /** How many messages of one stream may be under way, or answered and not read; at least 1. */
  readonly streamLimit: number;
  /** Aborts when the broker drains: its reason is what streams then end with. */
  readonly draining: AbortSignal;
  /** Told what became of a message: its result, or the error that its caller gets. */
  readonly onAnswered?: (call: AuditedCall, appId: string, outcome: SendResult | { readonly error: unknown }) => void;
  /** Translates an error of one message of a stream. */
  readonly toError: (error: unknown) => ConnectError;
  /** Told of a fault that the caller learns only the reason of. */
  readonly report: (error: unknown) => void;
}

/** MessageService, written once for every listener. Its methods throw LingpaiErrors, which `toConnectError` translates. */
export function messageService(deps: MessageServiceDeps): ServiceImpl<typeof MessageService> {
  const { sender, clock, newId } = deps;
  const access = deps.access ?? Access.open(clock);

  /** Sends one message, and tells what became of it. */
  async function send(message: Message, call: AuditedCall, signal: AbortSignal): Promise<SendResult> {
    const { appId } = message;
    try {
      const result = await (access.isOpen ? sender.send(message, signal) : sendWhileAllowed(message, call, signal));
      deps.onAnswered?.(call, appId, result);
      return result;
    } catch (error) {
      deps.onAnswered?.(call, appId, { error });
      throw error;
    }
  }

  /** What is not begun when its caller loses the right is not sent. */
  async function sendWhileAllowed(message: Message, call: AuditedCall, signal: AbortSignal): Promise<SendResult> {
    const lost = new AbortController();
    const check = () => access.require(call, 'send', message.appId);
    using _followed = access.follow(call, { check, end: (error) => lost.abort(error) });
    const leave = () => lost.abort(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await sender.send(message, lost.signal);
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  // A message may wait for minutes, and its request may have a megabyte of what nobody knows: it is let go of before.
  async function begin(request: SendTemplatesRequest, call: AuditedCall, signal: AbortSignal): Promise<SendResult> {
    access.requireStill(call, 'send', request.message?.appId ?? '');
    validateSendTemplates(request);
    return send(toMessage(request.message, nameOf(call)), call, signal);
  }

  /** One message of a stream, answered whatever becomes of it. */
  function answer(
    request: SendTemplatesRequest,
    call: AuditedCall,
    signal: AbortSignal,
  ): Promise<SendTemplatesResponse> {
    const correlationId = request.correlationId.slice(0, MAX_ECHO).toWellFormed();
    const outcome = (value: SendTemplatesResponse['outcome']) =>
      create(SendTemplatesResponseSchema, { correlationId, outcome: value });
    return begin(request, call, signal).then(
      (result) => outcome({ case: 'sent', value: toSendTemplateResponse(result) }),
      (error: unknown) => outcome({ case: 'failure', value: toSendFailure(deps.toError(error)) }),
    );
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
    sendTemplate(request, context) {
      validateSendTemplate(request);
      const call = callerOf(context);
      return send(toMessage(request, nameOf(call)), call, context.signal).then(toSendTemplateResponse);
    },

    sendTemplates(requests, context) {
      // Messages that are read and not begun when the caller goes are not sent: the signal tells the sender.
      const call = callerOf(context);
      const answered = (request: SendTemplatesRequest) => answer(request, call, context.signal);
      return new SendStream(requests, { send: answered, limit: deps.streamLimit, draining: deps.draining });
    },

    async depositPermits(request) {
      const now = clock.now();
      validateDepositPermits(request, now);
      const permits = request.permits.map((permit) => toPermit(permit, now, newId));
      const usable = permits.filter(({ expireTime }) => expireTime === null || expireTime > now);
      const put = (ledger: MessageServiceDeps['ledger']) => ledger.deposit(request.appId, usable, deps.maxPermits);
      const deposit = await askLedger(request.appId, put);
      if (deposit === 'full') throw permitLimitError(request.appId, deps.maxPermits);
      return create(DepositPermitsResponseSchema, { ...deposit, expired: permits.length - usable.length });
    },

    async countPermits(request) {
      validateCountPermits(request);
      const { appId, toUser } = request;
      const ask = (ledger: MessageServiceDeps['ledger']) => ledger.count(appId, toUser || undefined, clock.now());
      return toCountPermitsResponse(await askLedger(appId, ask));
    },

    async reviewTemplate(request, { signal }) {
      validateReviewTemplate(request);
      const { title, keywords, existingTitles } = request;
      const effort = new Effort(async () => {
        await deps.pause();
        signal.throwIfAborted();
      });
      const reviewed = await review({ title, keywords, existingTitles }, deps.reviewWords, effort);
      if ('violations' in reviewed) throw invalidError(reviewed.violations);
      return create(ReviewTemplateResponseSchema, { findings: [...reviewed.findings] });
    },
  };
}
