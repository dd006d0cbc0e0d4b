import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClientDuplexStream, Metadata, type ServiceError } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { AdminService } from '../../src/gen/lingpai/v1/admin_pb.js';
import { MessageService } from '../../src/gen/lingpai/v1/message_pb.js';
import { TicketService } from '../../src/gen/lingpai/v1/ticket_pb.js';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { Canaries } from '../support/canaries.ts';
import { APPS, Place, SECRET } from '../support/lingpai.ts';
import { RedisServer } from '../support/redis.ts';
import { ForeignClient } from '../support/rpc.ts';

const OPENID = 'oABCD-canary-openid-0123456';
const FORM_ID = 'canary-form-id-1a2b3c4d5e6f';
const API_KEY = 'lingpai_canaryKEYcanaryKEYcanaryKEYcanaryK3y';
const JWT = 'eyJhbGciOiJSUzI1NiJ9.canaryJwtClaims0123456789.canaryJwtSignature9876543210';
const REDIS_PASSWORD = 'canary-redis-password';
const MESSAGE_CALLS = ['message_mini_program', 'message_subscribe', 'message_official_account'] as const;
const SERVICES = [TokenService, TicketService, MessageService, AdminService];
const PROTOS = ['token', 'ticket', 'message', 'admin'].map((name) => `lingpai/v1/${name}.proto`);

const message = (part: object = {}) => ({
  app_id: 'wxa',
  to_user: OPENID,
  template_id: 't1',
  data: { thing1: { value: 'x' } },
  ...part,
});
const permit = (part: object = {}) => ({ to_user: OPENID, kind: 'PERMIT_KIND_FORM_ID', value: FORM_ID, ...part });

/** What each method is asked, by whom knows and who does not. `token` is a value that the broker has handed out. */
const requestsOf = (token: string): Readonly<Record<string, readonly object[]>> => ({
  Get: [{ app_id: 'wxa' }, { app_id: 'wxb' }, { app_id: 'wxunknown' }, { app_id: token }],
  ForceRefresh: [
    { app_id: 'wxa', rejected_token: token },
    { app_id: 'wxb', rejected_token: 'x'.repeat(5_000) + token },
    { app_id: token, rejected_token: token },
    { app_id: 'wxa' },
    { app_id: 'wxb' },
  ],
  WatchToken: [{ app_ids: ['wxa'] }, { app_ids: [token] }, { known_generations: { [token]: 1 } }],
  GetTicket: [
    { app_id: 'wxa', type: 'TICKET_TYPE_JSAPI' },
    { app_id: 'wxb', type: 'TICKET_TYPE_WX_CARD' },
    { app_id: token, type: 'TICKET_TYPE_JSAPI' },
  ],
  SignJsapi: [
    { app_id: 'wxa', url: `http://a.example/?openid=${OPENID}` },
    { app_id: 'wxa', url: OPENID },
  ],
  SendTemplate: [
    message({ subscribe: {} }),
    message({ subscribe: {}, idempotency_key: 'k' }),
    message({ official_account: {} }),
    message({ mini_program: { form_id: FORM_ID } }),
    message({ mini_program: {} }),
    message({ app_id: token, subscribe: {} }),
    message({ to_user: OPENID.repeat(20), subscribe: {} }),
    message({ template_id: '', mini_program: { form_id: FORM_ID.repeat(20) } }),
  ],
  SendTemplates: [message({ subscribe: {} }), message({ to_user: OPENID.repeat(20), subscribe: {} })],
  DepositPermits: [
    { app_id: 'wxa', permits: [permit()] },
    { app_id: 'wxa', permits: [permit({ value: FORM_ID.repeat(20) }), permit({ to_user: OPENID.repeat(20) })] },
    { app_id: 'wxunknown', permits: [permit()] },
  ],
  CountPermits: [
    { app_id: 'wxa', to_user: OPENID },
    { app_id: 'wxa', to_user: OPENID.repeat(20) },
  ],
  ReviewTemplate: [{ title: '购买成功通知', keywords: [{ name: '单号', example: '1' }] }, { title: OPENID }],
  GetStatus: [{}, { app_ids: ['wxunknown'] }, { app_ids: [token] }],
});

/** All that a caller learns of an error: words, and details. */
function errorText(error: ServiceError): string {
  const values = Object.values(error.metadata?.getMap?.() ?? {});
  return [error.code, error.details, ...values.map((value) => Buffer.from(value).toString('latin1'))].join(' ');
}

/** Calls every method of every service over gRPC and over HTTP, and returns all errors that came back. */
async function callAll(grpc: string, http: string, token: string, credential: string): Promise<string[]> {
  const errors: string[] = [];
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${credential}`);
  const headers = { authorization: `Bearer ${credential}`, 'content-type': 'application/json' };
  const requests = requestsOf(token);
  for (const { typeName, methods } of SERVICES) {
    using client = new ForeignClient(grpc, typeName, PROTOS);
    for (const { name, methodKind } of methods) {
      for (const request of requests[name] ?? [{}]) {
        if (methodKind === 'unary') {
          await client.call(name, request, { metadata }).catch((error) => errors.push(errorText(error)));
          const init = { method: 'POST', headers, body: JSON.stringify(request) };
          const response = await fetch(`http://${http}/${typeName}/${name}`, init);
          const text = await response.text();
          if (!response.ok) errors.push(text);
        } else if (methodKind === 'server_streaming') {
          const stream = client.stream(name, request);
          await stream.next().catch((error) => errors.push(errorText(error)));
          stream.cancel();
        } else {
          const call: ClientDuplexStream<object, unknown> = client.duplex(name);
          const ended = once(call, 'status');
          call.on('error', (error: ServiceError) => errors.push(errorText(error)));
          // A failure of one message is an answer, and as good as an error.
          call.on('data', (answer) => errors.push(JSON.stringify(answer)));
          call.write({ correlation_id: '1', message: request });
          call.end();
          await ended;
        }
      }
    }
  }
  return errors;
}

/** Calls with a secret for an app id, and drops the answers. */
async function callWithAppId(grpc: string, appId: string): Promise<void> {
  const methods = [
    ['Get', { app_id: appId }],
    ['ForceRefresh', { app_id: appId }],
    ['ForceRefresh', { app_id: appId, rejected_generation: 1 }],
    ['SendTemplate', message({ app_id: appId, subscribe: {} })],
    ['GetStatus', { app_ids: [appId] }],
  ] as const;
  for (const { typeName, methods: known } of SERVICES) {
    using client = new ForeignClient(grpc, typeName, PROTOS);
    for (const [name, request] of methods)
      if (known.some((method) => method.name === name)) await client.call(name, request).catch(() => {});
  }
}

describe.each(['sqlite', 'redis'])('with %s', (kind) => {
  it('P12: no secret is in log, audit, metrics, errors or the output of commands, whatever goes wrong', async () => {
    const canaries = new Canaries();
    canaries.add('AppSecret', SECRET);
    canaries.add('openid', OPENID);
    canaries.add('form_id', FORM_ID);
    canaries.add('API key', API_KEY);
    canaries.add('JWT', JWT, ...JWT.split('.').slice(1));
    await using undo = new AsyncDisposableStack();
    const place = undo.use(await Place.make());
    let url = 'sqlite:lingpai.db';
    if (kind === 'redis') {
      canaries.add('Redis password', REDIS_PASSWORD);
      const redis = undo.use(await RedisServer.start(['--requirepass', REDIS_PASSWORD]));
      url = redis.url().replace('//', `//:${REDIS_PASSWORD}@`);
    }
    const refresh = { cooldown: '0s' };
    await place.configure({ store: { url }, refresh });
    const { broker, grpc, http } = await place.serve();
    const { wechat, faults } = place.wechat;
    const token = async (app: string) => {
      const { output } = await place.run('get', app, '--addr', grpc, '--json', '--show-token');
      const value: string = JSON.parse(output).state.current.value;
      canaries.add('token', value);
      return value;
    };

    const errors: string[] = [];
    const commands: string[] = [];
    const command = async (...args: string[]) => commands.push((await place.run(...args)).output);
    await token('wxb');
    errors.push(...(await callAll(grpc, http, await token('wxa'), API_KEY)));
    // What is sent in the wrong place comes back to whoever sent it, and goes nowhere else.
    for (const secret of [SECRET, OPENID, API_KEY]) await callWithAppId(grpc, secret);
    // WeChat repeats what it was sent.
    const said = { errcode: 40003, errmsg: `invalid openid ${OPENID}` };
    const refused = { errcode: 40125, errmsg: `invalid credential ${SECRET}` };
    faults.inject({ effect: { kind: 'errcode', ...said }, calls: MESSAGE_CALLS });
    faults.inject({ effect: { kind: 'errcode', ...refused }, calls: ['classic'] });
    errors.push(...(await callAll(grpc, http, await token('wxb'), JWT)));
    faults.clear();
    for (const effect of [
      { kind: 'html', status: 502, takesEffect: true },
      { kind: 'truncated' },
      { kind: 'reset', takesEffect: true },
    ] as const) {
      faults.inject({ effect, count: 3 });
      await command('refresh', 'wxa', '--addr', grpc);
      await command('get', 'wxa', '--addr', grpc);
      await command('ticket', 'wxa', '--type', 'wx_card', '--addr', grpc);
      const sending = [
        '--app',
        'wxa',
        '--to',
        OPENID,
        '--template',
        't',
        '--data',
        'thing1=x',
        '--channel',
        'subscribe',
      ];
      await command('send', ...sending, '--addr', grpc);
      faults.clear();
    }
    await token('wxa');
    await token('wxb');
    // What operators ask WeChat: it answers, and then it repeats what it was asked by.
    wechat.setApp({ appId: 'wxa', secret: SECRET, templates: ['t2'] });
    const unknown = ['--template', 't', '--data', 'thing1=x', '--channel', 'subscribe', '--addr', grpc];
    await command('send', '--app', 'wxa', '--to', OPENID, ...unknown);
    const [, rid = ''] = /lingpai rid wxa ([\w-]+)/.exec(commands.at(-1) ?? '') ?? [];
    const ask = async () => {
      await command('rid', 'wxa', rid, '--addr', grpc);
      await command('quota', 'wxa', '/cgi-bin/token', '--addr', grpc);
      await command('quota', 'clear', 'wxa', '--yes', '--addr', grpc);
    };
    await ask();
    expect(commands.at(-3)).toContain('errcode    40037');
    const repeated = `${SECRET} ${await token('wxa')}`;
    const busy = { errcode: -1, errmsg: `system busy ${repeated}` };
    faults.inject({ effect: { kind: 'errcode', ...busy }, calls: ['quota', 'rid', 'clear_quota'] });
    await ask();
    faults.clear();
    const spent = { errcode: 45009, errmsg: `reach max api daily quota limit ${repeated}` };
    faults.inject({ effect: { kind: 'errcode', ...spent }, calls: ['clear_quota'] });
    const frozen = { errcode: 40243, errmsg: `frozen ${SECRET}` };
    faults.inject({ effect: { kind: 'errcode', ...frozen }, calls: ['clear_quota_v2'] });
    await ask();
    faults.clear();
    await command('status', '--addr', grpc);
    await command('permits', 'wxa', '--addr', grpc, '--user', 'somebody');
    const line = JSON.stringify(message({ subscribe: {}, idempotency_key: 'k1' }));
    await writeFile(join(place.folder, 'messages'), `${line}\n${line.replace('wxa', 'wxunknown')}\n{${OPENID}\n`);
    await command('send', '--file', 'messages', '--addr', grpc);
    wechat.setApp({ appId: 'wxa', secret: 'another' });
    await command('refresh', 'wxa', '--addr', grpc);
    await command('check', '--online');
    await place.configure({ store: { url }, refresh, apps: [{ ...APPS[0], issuer: 'nonsense' }] });
    broker.signal('SIGHUP');
    await broker.next('the refusal', ({ msg }) => String(msg).startsWith('configuration not reloaded'));
    await command('check');
    for (const app of ['wxa', 'wxb']) for (const ticket of wechat.tickets(app)) canaries.add('ticket', ticket.value);
    const metrics = await (await fetch(`http://${http}/metrics`)).text();
    broker.signal('SIGTERM');
    expect(await broker.ended()).toBe(0);

    const isAudit = (text: string) => text.startsWith('{"audit":true');
    const output = broker.output.split('\n');
    canaries.expectNoneIn({
      log: output.filter((text) => !isAudit(text)).join('\n'),
      audit: output.filter(isAudit).join('\n'),
      metrics,
      errors: errors.join('\n'),
      commands: commands.join('\n'),
    });
    const results = await readFile(join(place.folder, 'messages.results'), 'utf8');
    canaries.expectNoneIn({ results });
    // What was looked through holds what was done.
    const audited = new Set(broker.lines.filter((line) => line['audit'] === true).map(({ event }) => event));
    for (const event of [
      'config.loaded',
      'token.read',
      'token.reported',
      'token.refreshed',
      'messages.sent',
      'quota.cleared',
    ])
      expect(audited).toContain(event);
    const reasons = ['INVALID_REQUEST', 'APP_NOT_FOUND', 'OPENID_INVALID', 'SECRET_INVALID'];
    expect(wechat.tickets('wxa').length).toBeGreaterThan(0);
    expect(reasons.filter((reason) => !errors.join().includes(reason))).toEqual([]);
  }, 60_000);
});

it('the search finds what it looks for, in every form, and cut', () => {
  const canaries = new Canaries();
  canaries.add('secret', 'correct horse/battery+staple');
  const found = (text: string) => canaries.foundIn(`before ${text} after`).length > 0;
  expect(found('nothing')).toBe(false);
  expect(found('correct horse/bat...')).toBe(true);
  expect(found('...battery+staple')).toBe(true);
  expect(found(encodeURIComponent('correct horse/battery+staple'))).toBe(true);
  expect(found(Buffer.from('correct horse/battery+staple').toString('base64'))).toBe(true);
  expect(found(Buffer.from('correct horse/battery+staple').toString('hex'))).toBe(true);
});
