import { create } from '@bufbuild/protobuf';
import { createHandlerContext } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import type { Rule } from '../../src/core/access/ports.ts';
import type { Message } from '../../src/core/messages/message.ts';
import type { SendResult } from '../../src/core/messages/sender.ts';
import { extendWords } from '../../src/core/review/words.ts';
import {
  MessageService,
  SendTemplateRequestSchema,
  type SendTemplatesRequest,
  SendTemplatesRequestSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import { auditedMessages } from '../../src/rpc/audited.ts';
import { toConnectError } from '../../src/rpc/errors.ts';
import { messageService } from '../../src/rpc/message-service.ts';
import { callValues } from '../../src/transport/call.ts';
import { accessOf, caller, FakeRights } from '../support/access.ts';
import { FakeClock, settle } from '../support/clock.ts';

const SENT: SendResult = { sent: { messageId: '1', rid: 'r' }, replayed: false };
const SEND: Rule = { who: ['key:notifier'], may: ['send'], apps: ['wxa'] };

function rig(sendOne: (message: Message, signal: AbortSignal) => Promise<SendResult> = async () => SENT) {
  const clock = new FakeClock();
  const { access, audit } = accessOf(clock, [SEND]);
  const sent: Message[] = [];
  const never = () => expect.fail('it is not asked for');
  const service = messageService({
    access,
    clock,
    sender: {
      send(message, signal) {
        sent.push(message);
        return sendOne(message, signal);
      },
    },
    ledger: { deposit: never, count: never },
    requireApp: never,
    newId: never,
    maxPermits: 1,
    reviewWords: extendWords({}),
    pause: async () => {},
    streamLimit: 8,
    draining: new AbortController().signal,
    onAnswered: auditedMessages(audit),
    toError: (error) => toConnectError(error, never),
    report: never,
  });
  const control = { onClose() {}, end: never };
  const context = (method: (typeof MessageService)['methods'][number], requestSignal = new AbortController().signal) =>
    createHandlerContext({
      service: MessageService,
      method,
      protocolName: 'test',
      requestMethod: 'POST',
      url: 'http://localhost/',
      requestSignal,
      contextValues: callValues(control, { caller: caller('key:notifier'), peer: '10.0.0.1' }),
    });
  return { access, audit, sent, service, context };
}

const messageTo = (appId: string) =>
  ({
    appId,
    toUser: 'o',
    templateId: 't',
    data: { thing1: { value: 'x' } },
    idempotencyKey: 'k',
    channel: { case: 'subscribe', value: {} },
  }) as const;

describe('a stream of messages', () => {
  it('goes on after a message without a right, which fails by itself and is not sent', async () => {
    const { service, context, sent, audit } = rig();
    async function* requests(): AsyncGenerator<SendTemplatesRequest> {
      for (const appId of ['wxa', 'wxb', 'wxa'])
        yield create(SendTemplatesRequestSchema, { correlationId: appId, message: messageTo(appId) });
      yield create(SendTemplatesRequestSchema, { correlationId: 'none' });
    }
    const answers: string[] = [];
    for await (const { correlationId, outcome } of service.sendTemplates(
      requests(),
      context(MessageService.method.sendTemplates),
    )) {
      const what = outcome?.case === 'failure' ? (outcome.value as { reason?: string }).reason : outcome?.case;
      answers.push(`${correlationId} ${what}`);
    }
    expect(answers.sort()).toEqual(['none ACCESS_DENIED', 'wxa sent', 'wxa sent', 'wxb ACCESS_DENIED']);
    expect(sent.map(({ appId, caller }) => [appId, caller])).toEqual([
      ['wxa', 'key:notifier'],
      ['wxa', 'key:notifier'],
    ]);
    expect(audit.of('messages.sent').map(({ outcome }) => outcome)).toEqual(['SENT', 'SENT']);
    expect(audit.of('access.denied').map(({ appId }) => appId)).toEqual(['wxb', '']);
  });
});

describe('a message that waits', () => {
  /** A sender that waits until its caller leaves. */
  const waiting = (_: Message, signal: AbortSignal) =>
    new Promise<SendResult>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

  it('is not sent once its caller has lost the right', async () => {
    const { access, audit, service, context } = rig(waiting);
    const request = create(SendTemplateRequestSchema, messageTo('wxa'));
    const call = Promise.resolve(service.sendTemplate(request, context(MessageService.method.sendTemplate)));
    call.catch(() => {});
    await settle();
    expect(access.followed).toBe(1);
    access.replace({ rights: new FakeRights([]) });
    await expect(call).rejects.toMatchObject({ reason: 'ACCESS_DENIED' });
    expect(access.followed).toBe(0);
    expect(audit.of('messages.sent')).toMatchObject([{ outcome: 'ACCESS_DENIED', appId: 'wxa' }]);
    expect(audit.of('stream.ended')).toEqual([]);
  });

  it('leaves with its caller, and leaves nothing', async () => {
    const { access, service, context } = rig(waiting);
    const leaving = new AbortController();
    const request = create(SendTemplateRequestSchema, messageTo('wxa'));
    const call = service.sendTemplate(request, context(MessageService.method.sendTemplate, leaving.signal));
    await settle();
    leaving.abort(new Error('gone'));
    await expect(call).rejects.toThrow();
    expect(access.followed).toBe(0);
  });
});
