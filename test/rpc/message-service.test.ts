import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create, toBinary } from '@bufbuild/protobuf';
import { createHandlerContext, type ServiceImpl } from '@connectrpc/connect';
import { Client, type ClientDuplexStream, credentials, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { appNotFoundError, drainingError, LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Message } from '../../src/core/messages/message.ts';
import { refusedError, unknownError } from '../../src/core/messages/message-errors.ts';
import type { SendResult } from '../../src/core/messages/sender.ts';
import { extendWords } from '../../src/core/review/words.ts';
import {
  MessageService,
  type SendTemplateRequest,
  SendTemplateRequestSchema,
  type SendTemplatesRequest,
  SendTemplatesRequestSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import { takingTurns } from '../../src/ops/turns.ts';
import { toConnectError } from '../../src/rpc/errors.ts';
import { messageService } from '../../src/rpc/message-service.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import { FakeClock } from '../support/clock.ts';
import { FakeLedger } from '../support/ledger.ts';
import { detailsOf, ForeignClient, failure, grpcOf, HTTP, Mounted, until } from '../support/rpc.ts';

const LIMIT = 8;
const GOOD = { app_id: 'wxa', to_user: 'openid-1', template_id: 't1', data: { thing1: { value: 'x' } }, subscribe: {} };
const SENT: SendResult = { sent: { messageId: '9007199254740993123', rid: 'rid-1' }, replayed: false };

/** A sender that answers as it is told, by template. */
class FakeSender {
  /** What becomes of a message; the default is SENT at once. */
  answer: (message: Message, signal: AbortSignal) => Promise<SendResult> = async () => SENT;
  readonly messages: Message[] = [];
  underWay = 0;
  most = 0;

  async send(message: Message, signal: AbortSignal): Promise<SendResult> {
    this.messages.push(message);
    this.most = Math.max(this.most, ++this.underWay);
    try {
      return await this.answer(message, signal);
    } finally {
      this.underWay--;
    }
  }
}

let clock: FakeClock;
let sender: FakeSender;
let ledger: FakeLedger;
let draining: AbortController;
let mounted: Mounted;
let listener: Listener;
let client: ForeignClient;
let impl: ServiceImpl<typeof MessageService>;

beforeEach(async () => {
  clock = new FakeClock();
  sender = new FakeSender();
  ledger = new FakeLedger();
  draining = new AbortController();
  let ids = 0;
  const report = (error: unknown) => mounted.report(error);
  impl = messageService({
    sender,
    ledger,
    clock,
    requireApp: (appId) => {
      if (appId !== 'wxa') throw appNotFoundError(appId);
    },
    newId: () => `id-${++ids}`,
    reviewWords: extendWords({ own: ['令牌'] }),
    pause: takingTurns(),
    maxPermits: 1_000,
    streamLimit: LIMIT,
    draining: draining.signal,
    toError: (error) => toConnectError(error, report),
    report,
  });
  mounted = new Mounted(clock, { desc: MessageService, impl });
  listener = await startGrpc(grpcOf(mounted));
  client = new ForeignClient(listener.address, 'lingpai.v1.MessageService', ['lingpai/v1/message.proto']);
});

afterEach(async () => {
  client[Symbol.dispose]();
  await listener.stop();
});

/** A stream that a test writes to and reads at its own pace. */
class Bulk {
  readonly #call: ClientDuplexStream<object, Record<string, unknown>>;
  readonly ended: Promise<{ code: number; details: string }>;
  readonly answers: Record<string, unknown>[] = [];

  constructor() {
    this.#call = client.duplex('SendTemplates');
    this.#call.on('error', () => {});
    this.ended = new Promise((resolve) => this.#call.once('status', resolve));
  }

  /** Begins to read, but takes nothing: what grpc-js reads ahead is bounded only for a reader that has begun. */
  stall(): this {
    this.#call.on('readable', () => {});
    return this;
  }

  read(): this {
    this.#call.removeAllListeners('readable');
    this.#call.on('data', (answer) => this.answers.push(answer));
    this.#call.resume();
    return this;
  }

  send(id: string, message: object = GOOD): boolean {
    return this.#call.write({ correlation_id: id, message });
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}

describe('SendTemplate', () => {
  it('sends, and answers with all digits of the message id', async () => {
    const answer = await client.call('SendTemplate', { ...GOOD, page: 'p', idempotency_key: 'k' });
    expect(answer).toEqual({ message_id: '9007199254740993123', replayed: false, rid: 'rid-1' });
    expect(sender.messages).toEqual([
      {
        appId: 'wxa',
        toUser: 'openid-1',
        templateId: 't1',
        page: 'p',
        data: { thing1: { value: 'x', color: '' } },
        idempotencyKey: 'k',
        channel: { kind: 'subscribe', miniProgramState: '', lang: '' },
      },
    ]);
  });

  it('refuses a request that breaks rules, naming every one, and sends nothing', async () => {
    const refused = await failure(
      client.call('SendTemplate', { app_id: 'wxa', mini_program: { emphasis_keyword: 'k' } }),
    );
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    const { reason, bad } = detailsOf(refused);
    expect(reason).toBe('INVALID_REQUEST');
    expect(bad?.fieldViolations.map(({ field }) => field)).toEqual([
      'to_user',
      'template_id',
      'mini_program.emphasis_keyword',
    ]);
    expect(sender.messages).toEqual([]);
  });

  it.each([
    ['OPENID_INVALID', 'to_user'],
    ['TEMPLATE_ID_INVALID', 'template_id'],
    ['PAGE_INVALID', 'page'],
    ['DATA_INVALID', 'data'],
  ] as const)("WeChat's %s is INVALID_ARGUMENT and names %s", async (reason, field) => {
    const answer = { errcode: 1, errmsg: 'words', rid: 'r' };
    sender.answer = async () => {
      const channel = { kind: 'subscribe', miniProgramState: '', lang: '' } as const;
      throw refusedError({ appId: 'wxa', channel }, { kind: 'refused', reason, message: 'it is wrong', answer });
    };
    const refused = await failure(client.call('SendTemplate', GOOD));
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    expect(detailsOf(refused)).toMatchObject({
      reason,
      metadata: { app_id: 'wxa', errcode: '1', errmsg: 'words', rid: 'r' },
      bad: { fieldViolations: [{ field, description: 'it is wrong' }] },
    });
  });

  it('a message of unknown fate is UNKNOWN, with RetryInfo only where asking again tells', async () => {
    sender.answer = async ({ templateId }) => {
      throw unknownError('wxa', templateId === 'again' ? 5_000 : undefined);
    };
    const never = await failure(client.call('SendTemplate', GOOD));
    expect(never.code).toBe(status.UNKNOWN);
    expect(detailsOf(never)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retry: undefined });
    const again = detailsOf(await failure(client.call('SendTemplate', { ...GOOD, template_id: 'again' })));
    expect(again.retry?.retryDelay?.seconds).toBe(5n);
  });

  it('tells the sender that the caller has left', async () => {
    let left: AbortSignal | undefined;
    sender.answer = (_, signal) => {
      left = signal;
      return new Promise(() => {});
    };
    const leave = new AbortController();
    const call = failure(client.cancellable('SendTemplate', GOOD, leave.signal));
    await until(() => left !== undefined);
    leave.abort();
    await call;
    await until(() => left?.aborted === true);
  });
});

describe('SendTemplates', () => {
  it('answers each as it is ready, under its own name', async () => {
    const open = new Map<string, (result: SendResult) => void>();
    sender.answer = ({ templateId }) => new Promise((resolve) => open.set(templateId, resolve));
    const bulk = new Bulk().read();
    const ids = ['a', 'b', 'a', ''];
    ids.forEach((id, i) => {
      bulk.send(id, { ...GOOD, template_id: id === '' ? 'nameless' : `t${i}` });
    });
    await until(() => open.size === 4);
    expect(bulk.answers).toEqual([]);
    open.get('nameless')?.(SENT);
    await until(() => bulk.answers.length === 1);
    expect(bulk.answers[0]).toMatchObject({
      correlation_id: '',
      outcome: 'sent',
      sent: { message_id: SENT.sent.messageId },
    });
    for (const end of open.values()) end({ ...SENT, replayed: true });
    bulk.end();
    expect((await bulk.ended).code).toBe(status.OK);
    expect(bulk.answers.map((answer) => answer['correlation_id']).sort()).toEqual(['', 'a', 'a', 'b']);
  });

  it('a message that is wrong is a failure of its own, and never ends the stream', async () => {
    sender.answer = async ({ templateId }) => {
      if (templateId === 'used')
        throw new LingpaiError('used', { reason: 'FORM_ID_USED', answer: { errcode: 41029, errmsg: 'e', rid: '' } });
      if (templateId === 'busy') throw new LingpaiError('busy', { reason: 'UPSTREAM_BUSY', retryAfterMs: 1_000 });
      if (templateId === 'bug') throw new TypeError('a secret of the code');
      return SENT;
    };
    const bulk = new Bulk().read();
    bulk.send('rules', { app_id: 'wxa' });
    bulk.send('x'.repeat(129));
    for (const id of ['used', 'busy', 'bug', 'good']) bulk.send(id, { ...GOOD, template_id: id });
    bulk.end();
    expect((await bulk.ended).code).toBe(status.OK);
    const failures = new Map(bulk.answers.map((each) => [each['correlation_id'], each['failure']]));
    expect(failures.get('rules')).toMatchObject({ code: 3, reason: 'INVALID_REQUEST', retry_after: null });
    expect(failures.get('x'.repeat(129))).toMatchObject({
      code: 3,
      message: expect.stringContaining('correlation_id'),
    });
    expect(failures.get('used')).toMatchObject({ code: 9, reason: 'FORM_ID_USED', metadata: { errcode: '41029' } });
    expect(failures.get('busy')).toMatchObject({ code: 14, reason: 'UPSTREAM_BUSY', retry_after: { seconds: '1' } });
    expect(failures.get('bug')).toMatchObject({ code: 13, reason: 'INTERNAL' });
    expect(failures.get('good')).toBeUndefined();
    expect(JSON.stringify(bulk.answers)).not.toContain('a secret');
    expect(mounted.faults).toHaveLength(1);
  });

  it('has no more under way than its limit, whatever the caller sends', async () => {
    const open: ((result: SendResult) => void)[] = [];
    sender.answer = () => new Promise((resolve) => open.push(resolve));
    const bulk = new Bulk().read();
    for (let i = 0; i < 100; i++) bulk.send(String(i));
    bulk.end();
    await until(() => sender.underWay === LIMIT);
    while (bulk.answers.length < 100) {
      const before = bulk.answers.length;
      await until(() => open.length > 0 || bulk.answers.length > before);
      open.shift()?.(SENT);
    }
    expect(sender.most).toBe(LIMIT);
    expect((await bulk.ended).code).toBe(status.OK);
  });

  it('reads no further while its answers are not read, and goes on when they are', async () => {
    const bulk = new Bulk().stall();
    // Answers so big that the connection cannot hold them.
    const id = 'x'.repeat(128);
    sender.answer = async () => ({ sent: { messageId: '1', rid: 'r'.repeat(50_000) }, replayed: false });
    for (let i = 0; i < 200; i++) bulk.send(id);
    bulk.end();
    let before = -1;
    while (sender.messages.length !== before) {
      before = sender.messages.length;
      for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(before).toBeGreaterThan(0);
    expect(before).toBeLessThan(100);
    bulk.read();
    expect((await bulk.ended).code).toBe(status.OK);
    expect(sender.messages).toHaveLength(200);
  });

  it('a caller who leaves is told to the sender for each message, and no more are read', async () => {
    const signals: AbortSignal[] = [];
    sender.answer = (_, signal) => {
      signals.push(signal);
      return new Promise(() => {});
    };
    const bulk = new Bulk().read();
    for (let i = 0; i < 100; i++) bulk.send(String(i));
    await until(() => signals.length === LIMIT);
    bulk.cancel();
    await until(() => signals.every(({ aborted }) => aborted));
    expect((await bulk.ended).code).toBe(status.CANCELLED);
    expect(sender.messages).toHaveLength(LIMIT);
  });

  it('draining answers what is under way, then ends the stream', async () => {
    const open: ((result: SendResult) => void)[] = [];
    sender.answer = () => new Promise((resolve) => open.push(resolve));
    const bulk = new Bulk().read();
    bulk.send('a');
    await until(() => open.length === 1);
    draining.abort(drainingError());
    open[0]?.(SENT);
    expect(await bulk.ended).toMatchObject({ code: status.UNAVAILABLE, details: 'the broker is shutting down' });
    expect(bulk.answers.map((answer) => answer['correlation_id'])).toEqual(['a']);
  });

  it('20,000 messages pass with no more of them in the broker than its limit', async () => {
    const count = 20_000;
    const call = client.duplex('SendTemplates');
    let answered = 0;
    call.on('data', () => {
      answered++;
    });
    const done = once(call, 'end');
    for (let i = 0; i < count; i++) {
      if (!call.write({ correlation_id: String(i), message: GOOD })) await once(call, 'drain');
    }
    call.end();
    await done;
    expect(answered).toBe(count);
    expect(sender.most).toBeLessThanOrEqual(LIMIT);
  });
});

describe('permits', () => {
  const form = (value: string, more: object = {}) => ({ to_user: 'u1', kind: 'PERMIT_KIND_FORM_ID', value, ...more });
  const seconds = (ms: number) => ({ seconds: String(Math.floor(ms / 1000)), nanos: 0 });

  it('are deposited once, but for those that had expired; a consent without a name is always new', async () => {
    const old = { collect_time: seconds(clock.now() - 8 * 86_400_000) };
    const consent = { to_user: 'u1', kind: 'PERMIT_KIND_CONSENT', template_id: 't1' };
    const permits = [form('f1'), form('f1'), form('f2', old), consent, consent, { ...consent, value: 'c' }];
    expect(await client.call('DepositPermits', { app_id: 'wxa', permits })).toEqual({
      deposited: 4,
      duplicates: 1,
      expired: 1,
    });
    expect(ledger.permits.map(({ kind, value }) => [kind, value])).toEqual([
      ['form_id', 'f1'],
      ['consent', 'id-1'],
      ['consent', 'id-2'],
      ['consent', 'c'],
    ]);
  });

  it('are counted by user and for the whole app', async () => {
    const permits = [
      form('f1', { collect_time: seconds(Date.UTC(2026, 0, 10, 15, 59)) }),
      form('f2', { collect_time: seconds(Date.UTC(2026, 0, 10, 16, 1)), to_user: 'u2' }),
      { ...form('p'), kind: 'PERMIT_KIND_PREPAY_ID', collect_time: seconds(Date.UTC(2026, 0, 10, 15, 59)) },
    ];
    await client.call('DepositPermits', { app_id: 'wxa', permits });
    expect(await client.call('CountPermits', { app_id: 'wxa' })).toEqual({
      counts: [
        { kind: 'PERMIT_KIND_FORM_ID', messages: '2', permits: '2' },
        { kind: 'PERMIT_KIND_PREPAY_ID', messages: '3', permits: '1' },
      ],
      // In Shanghai a day ends at 16:00 UTC.
      expiries: [
        { date: '2026-01-17', messages: '4' },
        { date: '2026-01-18', messages: '1' },
      ],
    });
    expect((await client.call('CountPermits', { app_id: 'wxa', to_user: 'u2' })).counts).toHaveLength(1);
  });

  it.each([
    ['DepositPermits', { app_id: 'wxz', permits: [form('f')] }],
    ['CountPermits', { app_id: 'wxz' }],
  ])('%s of an unknown app is NOT_FOUND', async (method, request) => {
    const unknown = await failure(client.call(method, request));
    expect([unknown.code, detailsOf(unknown).reason]).toEqual([status.NOT_FOUND, 'APP_NOT_FOUND']);
    expect(ledger.permits).toEqual([]);
  });

  it('a ledger that cannot be used is UNAVAILABLE, with a time to come back, and is reported', async () => {
    ledger.deposit = async () => {
      throw new Error('disk full at /var/lib');
    };
    const refused = await failure(client.call('DepositPermits', { app_id: 'wxa', permits: [form('f')] }));
    const { reason, retry } = detailsOf(refused);
    expect([refused.code, reason, retry?.retryDelay?.seconds]).toEqual([status.UNAVAILABLE, 'LEDGER_UNAVAILABLE', 1n]);
    expect(refused.details).not.toContain('/var/lib');
    expect(mounted.faults).toHaveLength(1);
  });

  it('name every violation by its place', async () => {
    const refused = await failure(
      client.call('DepositPermits', { app_id: 'wxa', permits: [form('f'), form(''), { to_user: 'u' }] }),
    );
    expect(detailsOf(refused).bad?.fieldViolations.map(({ field }) => field)).toEqual([
      'permits[1].value',
      'permits[2].kind',
    ]);
  });
});

it('a name of a stream that is too long comes back cut, with what is wrong', async () => {
  const stream = client.duplex('SendTemplates');
  const answers: { correlation_id: string; failure: { reason: string; message: string } }[] = [];
  stream.on('data', (answer) => answers.push(answer));
  stream.write({ correlation_id: 'x'.repeat(500_000), message: GOOD });
  stream.end();
  await once(stream, 'end');
  expect(answers).toHaveLength(1);
  expect(answers[0]?.correlation_id).toBe('x'.repeat(1_024));
  expect(answers[0]?.failure).toMatchObject({ reason: 'INVALID_REQUEST', message: expect.stringContaining('500000') });
});

it('text that is no UTF-8 is refused, and not sent with U+FFFD', async () => {
  const wrong = Buffer.from('d7dc', 'hex'); // 总 in GBK
  const bytes = toBinary(
    SendTemplateRequestSchema,
    create(SendTemplateRequestSchema, {
      appId: 'wxa',
      toUser: 'o',
      templateId: 't',
      data: { thing1: { value: '@@' } },
      channel: { case: 'subscribe', value: {} },
    }),
  );
  wrong.copy(bytes, Buffer.from(bytes).indexOf('@@'));
  using raw = new RawClient(listener.address);
  const refused = await failure(raw.call('SendTemplate', Buffer.from(bytes)));
  expect([refused.code, detailsOf(refused).reason]).toEqual([status.INVALID_ARGUMENT, 'INVALID_REQUEST']);
  expect(sender.messages).toEqual([]);
});

it('a message that waits does not keep its request, with whatever else came in it', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const holding: unknown[] = [];
  sender.answer = () => new Promise((resolve) => holding.push(resolve));
  const request = () =>
    new WeakRef(
      create(SendTemplateRequestSchema, {
        appId: 'wxa',
        toUser: 'o',
        templateId: 't',
        data: { thing1: { value: 'x' } },
        channel: { case: 'subscribe', value: {} },
      }),
    );
  const about = { service: MessageService, protocolName: 'grpc', requestMethod: 'POST', url: 'http://h/' };
  const { sendTemplate, sendTemplates } = MessageService.method;
  const [unary, streamed] = [request(), request()];
  const begin = () => {
    const requests = [
      create(SendTemplatesRequestSchema, { correlationId: 'c', message: streamed.deref() as SendTemplateRequest }),
    ];
    const incoming: AsyncIterable<SendTemplatesRequest> = {
      [Symbol.asyncIterator]: () => ({
        next: () => {
          const value = requests.pop();
          return value ? Promise.resolve({ done: false, value }) : new Promise(() => undefined);
        },
      }),
    };
    const stream = impl.sendTemplates(incoming, createHandlerContext({ ...about, method: sendTemplates }));
    const context = createHandlerContext({ ...about, method: sendTemplate });
    return [impl.sendTemplate(unary.deref() as SendTemplateRequest, context), stream];
  };
  const waiting = begin();
  await until(() => sender.messages.length === 2);
  for (let i = 0; i < 20 && (unary.deref() || streamed.deref()); i++) {
    await turn();
    collect();
  }
  expect([waiting, holding]).toMatchObject([{ length: 2 }, { length: 2 }]);
  expect([unary, streamed].map((each) => each.deref() === undefined)).toEqual([true, true]);
});

/** A client that sends bytes as they are. */
class RawClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure());
  }

  call(method: string, bytes: Buffer): Promise<unknown> {
    const as = (buffer: Buffer) => buffer;
    return new Promise((resolve, reject) => {
      const path = `/lingpai.v1.MessageService/${method}`;
      this.#client.makeUnaryRequest(path, as, as, bytes, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

describe('limits of permits', () => {
  const form = (i: number, to_user: string) => ({ to_user, kind: 'PERMIT_KIND_FORM_ID', value: `f${i}` });
  const deposit = (permits: object[]) => client.call('DepositPermits', { app_id: 'wxa', permits });

  it('an app has no more than messages.max_permits', async () => {
    expect(await deposit(Array.from({ length: 999 }, (_, i) => form(i, `u${i}`)))).toMatchObject({ deposited: 999 });
    const refused = await failure(deposit([form(1_000, 'a'), form(1_001, 'b')]));
    const { reason, metadata } = detailsOf(refused);
    expect([refused.code, reason]).toEqual([status.RESOURCE_EXHAUSTED, 'PERMIT_LIMIT_EXCEEDED']);
    expect(metadata).toEqual({ app_id: 'wxa' });
    expect(refused.details).toMatch(/more than 1000 permits.*messages\.max_permits/);
    expect(await deposit([form(1_000, 'a')])).toMatchObject({ deposited: 1 });
  });
});

it('ReviewTemplate knows the configured words', async () => {
  const review = (title: string, more: object = {}) => client.call('ReviewTemplate', { title, ...more });
  expect((await review('令牌到期提醒')).findings.map(({ rule }: { rule: string }) => rule)).toEqual(['1.4']);
  const all = await review('订单支付成功通知', {
    keywords: [{ name: '金额', example: '无' }],
    existing_titles: ['订单支付成功通知'],
  });
  expect(all.findings.map(({ rule }: { rule: string }) => rule)).toEqual(['1.1', '2.4']);
  expect((await failure(review(''))).code).toBe(status.INVALID_ARGUMENT);
});

it('ReviewTemplate refuses texts that are too long only once they are folded', async () => {
  const ligatures = '\ufdfa'.repeat(64);
  const keywords = Array.from({ length: 32 }, () => ({ name: ligatures }));
  const refused = await failure(client.call('ReviewTemplate', { title: '订单支付成功通知', keywords }));
  expect([refused.code, detailsOf(refused).reason]).toEqual([status.INVALID_ARGUMENT, 'INVALID_REQUEST']);
  expect(detailsOf(refused).bad?.fieldViolations[0]).toMatchObject({
    field: 'keywords[0].name',
    description: expect.stringContaining('has 1152 there'),
  });
});

it('every RPC but the stream is served as Connect/JSON too', async () => {
  const http = await startHttp({ ...HTTP, ...mounted });
  try {
    const post = async (method: string, body: object) => {
      const response = await fetch(`http://${http.address}/lingpai.v1.MessageService/${method}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return [response.status, await response.json()];
    };
    const message = { appId: 'wxa', toUser: 'o', templateId: 't', data: { k: { value: 'v' } }, officialAccount: {} };
    expect(await post('SendTemplate', message)).toEqual([200, { messageId: '9007199254740993123', rid: 'rid-1' }]);
    expect(await post('CountPermits', { appId: 'wxa' })).toEqual([200, {}]);
    expect(await post('SendTemplate', {})).toMatchObject([400, { code: 'invalid_argument' }]);
  } finally {
    await http.stop();
  }
});
