import { describe, expect, test } from 'vitest';
import type { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { WeChatCall } from '../../src/wechat/client.ts';
import { readTicket } from '../../src/wechat/tickets.ts';
import { tokenId } from '../../src/wechat/token-id.ts';
import { clientOf, expectNoSecret, failureOf, never, serveHttp, TOKEN } from './support.ts';

const TICKET = 'sM4AOVdWfPE4DxkXGEs8-the-ticket-value';
const granted = (fields: object = {}): string =>
  JSON.stringify({ errcode: 0, errmsg: 'ok', ticket: TICKET, expires_in: 7200, ...fields });

function refusal(body: string, status = 200): UpstreamError {
  try {
    readTicket({ status, body, location: '' }, TOKEN);
  } catch (error) {
    expectNoSecret(error);
    expect(String((error as Error).stack)).not.toContain(TICKET);
    expect(JSON.stringify(error)).not.toContain(TICKET);
    return error as UpstreamError;
  }
  return expect.fail('it was taken for a ticket');
}

test('a ticket is fetched by a GET with token and type in the query', async () => {
  const seen: { method: string | undefined; url: URL }[] = [];
  const calls: WeChatCall[] = [];
  const url = await serveHttp(async (request, response) => {
    seen.push({ method: request.method, url: new URL(request.url ?? '', 'http://wechat') });
    response.end(granted());
  });
  const client = clientOf(url, { observe: (call) => calls.push(call) });
  const grant = { value: TICKET, id: tokenId(TICKET), lifetimeMs: 7_200_000 };
  expect(await client.fetchTicket('wx_card', 'a+b&c', never())).toEqual(grant);
  expect(seen[0]).toMatchObject({ method: 'GET', url: { pathname: '/cgi-bin/ticket/getticket' } });
  expect(Object.fromEntries(seen[0]?.url.searchParams ?? [])).toEqual({ access_token: 'a+b&c', type: 'wx_card' });
  expect(calls).toMatchObject([{ endpoint: 'ticket', result: 'ok' }]);
});

test('a refusal is counted by its errcode', async () => {
  const calls: WeChatCall[] = [];
  const url = await serveHttp(async (_, response) => void response.end('{"errcode":45009,"errmsg":"spent"}'));
  const client = clientOf(url, { observe: (call) => calls.push(call) });
  expect(await failureOf(client.fetchTicket('jsapi', TOKEN, never()))).toMatchObject({
    reason: 'DAILY_QUOTA_EXHAUSTED',
  });
  expect(calls).toMatchObject([{ endpoint: 'ticket', result: '45009' }]);
});

describe('what getticket refuses', () => {
  test.each([
    [40001, 'TOKEN_REFUSED', 'backoff'],
    [40014, 'TOKEN_REFUSED', 'backoff'],
    [42001, 'TOKEN_REFUSED', 'backoff'],
    [45009, 'DAILY_QUOTA_EXHAUSTED', 'daily_quota'],
    [45011, 'MINUTE_QUOTA_EXHAUSTED', 'minute_quota'],
    [48001, 'INTERFACE_NOT_GRANTED', 'pause'],
    [40097, 'UPSTREAM_REQUEST_INVALID', 'pause'],
    [40164, 'IP_NOT_ALLOWED', 'pause'],
    [-1, 'UPSTREAM_BUSY', 'backoff'],
    [99999, 'UPSTREAM_ERROR', 'backoff'],
  ])('%i is %s: %s', (errcode, reason, kind) => {
    const errmsg = `no ${TOKEN}, no ${TICKET}`;
    const body = JSON.stringify({ errcode, errmsg, ticket: TICKET });
    expect(refusal(body)).toMatchObject({ reason, recovery: { kind }, effect: 'refused', answer: { errcode } });
  });
});

describe('what is no ticket', () => {
  test.each([
    ['nothing', '', /empty body/],
    ['HTML', `<html>${TICKET}</html>`, /HTML/],
    ['no ticket', granted({ ticket: undefined }), /without a ticket/],
    ['a number', granted({ ticket: 5 }), /a ticket that is not text/],
    ['an empty one', granted({ ticket: '' }), /an empty ticket/],
    ['a long one', granted({ ticket: TICKET.repeat(100) }), /a ticket of more than 2048/],
    ['one with a space', granted({ ticket: `${TICKET} x` }), /a ticket that has spaces/],
    ['expires_in as text', granted({ expires_in: '7200' }), /not a number/],
    ['expires_in 0', granted({ expires_in: 0 }), /not more than 0/],
    ['expires_in of years', granted({ expires_in: 1e9 }), /more than 30 days/],
  ])('%s', (_, body, words) => {
    expect(refusal(body)).toMatchObject({ reason: 'UPSTREAM_MALFORMED', message: expect.stringMatching(words) });
  });
});
