import { createHash } from 'node:crypto';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEvent } from '../../src/core/access/ports.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { appNotFoundError, LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Token } from '../../src/core/tokens/state.ts';
import { TicketService } from '../../src/gen/lingpai/v1/ticket_pb.js';
import { auditedTickets } from '../../src/rpc/audited.ts';
import { ticketService } from '../../src/rpc/ticket-service.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import type { Listener } from '../../src/server/mount.ts';
import { FakeClock, settle } from '../support/clock.ts';
import { detailsOf, ForeignClient, failure, grpcOf, Mounted, until } from '../support/rpc.ts';

const CALL = { caller: { ...LOCAL, name: 'key:web' }, peer: '127.0.0.1' };
const TICKET = 'sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg';
const NOW = 1_414_587_457_999;
const HELD: Token = { value: TICKET, id: '0123456789ab', issueTime: NOW - 1_000, expireTime: NOW + 7_199_000 };

let clock: FakeClock;
let events: AuditEvent[];
let waiting: { readonly signal: AbortSignal; readonly bring: (ticket: Token) => void; fail(error: Error): void }[];
let listener: Listener;
let client: ForeignClient;

beforeEach(async () => {
  clock = new FakeClock(NOW);
  events = [];
  waiting = [];
  const get = (appId: string, type: string, { signal }: { signal: () => AbortSignal }): Token | Promise<Token> => {
    if (appId === 'wxgone') throw appNotFoundError(appId);
    if (appId === 'wxheld') return { ...HELD, value: type === 'jsapi' ? TICKET : 'card' };
    const given = signal();
    return new Promise((resolve, reject) => {
      waiting.push({ signal: given, bring: resolve, fail: reject });
      given.addEventListener('abort', () => reject(given.reason));
    });
  };
  const impl = ticketService({
    tickets: { get },
    clock,
    maxWaiting: 2,
    newNonce: () => 'Wm3WZYTPz0wzccnW',
    sha1: (text) => createHash('sha1').update(text).digest('hex'),
  });
  const audit = { record: (event: AuditEvent) => void events.push(event) };
  const mounted = new Mounted(clock, { desc: TicketService, impl: auditedTickets(impl, audit) });
  listener = await startGrpc({ ...grpcOf(mounted), authenticate: () => CALL.caller });
  client = new ForeignClient(listener.address, 'lingpai.v1.TicketService', ['lingpai/v1/ticket.proto']);
});
afterEach(async () => {
  client[Symbol.dispose]();
  await listener.stop();
});

const get = (appId: string, type = 'TICKET_TYPE_JSAPI') => client.call('GetTicket', { app_id: appId, type });
/** What a caller is told of a failure. */
const told = async (failed: Promise<ServiceError>) => {
  const error = await failed;
  return { ...detailsOf(error), code: error.code };
};
const sign = (appId: string, url: string) => client.call('SignJsapi', { app_id: appId, url });

describe('GetTicket', () => {
  it("answers with the ticket of that type, its times and the broker's", async () => {
    expect(await get('wxheld')).toMatchObject({
      ticket: {
        value: TICKET,
        id: '0123456789ab',
        issue_time: { seconds: '1414587456', nanos: 999_000_000 },
        expire_time: { seconds: '1414594656', nanos: 999_000_000 },
      },
      server_time: { seconds: '1414587457', nanos: 999_000_000 },
    });
    expect((await get('wxheld', 'TICKET_TYPE_WX_CARD'))['ticket'].value).toBe('card');
  });

  it('is audited as a token that was read, with the type of the ticket; a failure and a signature are not', async () => {
    await get('wxheld', 'TICKET_TYPE_WX_CARD');
    await sign('wxheld', 'http://a.example');
    await failure(get('wxgone'));
    expect(events).toEqual([
      { event: 'token.read', call: CALL, appId: 'wxheld', tokenId: '0123456789ab', kind: 'wx_card' },
    ]);
  });

  it('waits for what comes, and no longer than its caller or a minute', async () => {
    const got = get('wxlater');
    await until(() => waiting.length === 1);
    waiting[0]?.bring(HELD);
    expect(await got).toMatchObject({ ticket: { id: HELD.id } });
    expect(events).toHaveLength(1);
    const late = failure(get('wxlater'));
    await until(() => waiting.length === 2);
    await clock.advance(60_000);
    expect(await told(late)).toMatchObject({ code: status.DEADLINE_EXCEEDED, reason: 'GENERATION_NOT_REACHED' });
  });

  it('is refused where too many wait, and not for ever', async () => {
    const held = [get('wxlater'), get('wxlater')];
    await until(() => waiting.length === 2);
    const refused = await told(failure(get('wxlater')));
    expect(refused).toMatchObject({ code: status.RESOURCE_EXHAUSTED, reason: 'TOO_MANY_WAITING' });
    for (const each of waiting) each.bring(HELD);
    await Promise.all(held);
    const next = get('wxlater');
    await until(() => waiting.length === 3);
    waiting[2]?.bring(HELD);
    await next;
  });

  it('fails with why there is none', async () => {
    const failed = failure(get('wxlater'));
    await until(() => waiting.length === 1);
    const answer = { errcode: 45009, errmsg: 'reach max api daily quota limit', rid: 'r' };
    waiting[0]?.fail(
      new LingpaiError('spent', { reason: 'DAILY_QUOTA_EXHAUSTED', appId: 'wxlater', answer, retryAfterMs: 900_000 }),
    );
    expect(await told(failed)).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      reason: 'DAILY_QUOTA_EXHAUSTED',
      metadata: { app_id: 'wxlater', errcode: '45009' },
      retry: { retryDelay: { seconds: 900n } },
    });
    expect(await failure(get('wxgone'))).toMatchObject({ code: status.NOT_FOUND });
    await settle();
  });

  it.each([
    ['', 'TICKET_TYPE_JSAPI', ['app_id']],
    ['a/b', 'TICKET_TYPE_JSAPI', ['app_id']],
    ['wxheld', 'TICKET_TYPE_UNSPECIFIED', ['type']],
    ['wxheld', 7, ['type']],
    ['', 'TICKET_TYPE_UNSPECIFIED', ['app_id', 'type']],
  ])('refuses app %j with type %s', async (appId, type, fields) => {
    const refused = await told(failure(client.call('GetTicket', { app_id: appId, type })));
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    expect(refused.bad?.fieldViolations.map(({ field }) => field)).toEqual(fields);
  });
});

describe('SignJsapi', () => {
  it("signs WeChat's own example, and leaves the fragment out", async () => {
    const signed = {
      app_id: 'wxheld',
      timestamp: '1414587457',
      nonce: 'Wm3WZYTPz0wzccnW',
      signature: '0f9de62fce790f9a083d5c99e95740ceb90c27ed',
    };
    expect(await sign('wxheld', 'http://mp.weixin.qq.com?params=value')).toEqual(signed);
    expect(await sign('wxheld', 'http://mp.weixin.qq.com?params=value#wechat_redirect')).toEqual(signed);
  });

  it('waits for a first ticket', async () => {
    const got = sign('wxlater', 'http://mp.weixin.qq.com?params=value');
    await until(() => waiting.length === 1);
    waiting[0]?.bring(HELD);
    expect((await got)['signature']).toBe('0f9de62fce790f9a083d5c99e95740ceb90c27ed');
  });

  it('refuses what is no URL of a page, before anything is fetched', async () => {
    const refused = await told(failure(sign('wxlater', 'mp.weixin.qq.com')));
    expect(refused).toMatchObject({ code: status.INVALID_ARGUMENT, reason: 'INVALID_REQUEST' });
    expect(refused.bad?.fieldViolations).toMatchObject([
      { field: 'url', description: expect.stringContaining('http://') },
    ]);
    expect(waiting).toEqual([]);
  });
});
