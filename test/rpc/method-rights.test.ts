import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Access } from '../../src/core/access/access.ts';
import type { Rule } from '../../src/core/access/ports.ts';
import { VERBS, type Verb } from '../../src/core/access/verbs.ts';
import { HealthCheckRequestSchema, HealthListRequestSchema } from '../../src/gen/grpc/health/v1/health_pb.js';
import { ServerReflectionRequestSchema } from '../../src/gen/grpc/reflection/v1/reflection_pb.js';
import { AdminService, GetStatusRequestSchema, ListCallersRequestSchema } from '../../src/gen/lingpai/v1/admin_pb.js';
import {
  CountPermitsRequestSchema,
  DepositPermitsRequestSchema,
  PermitKind,
  ReviewTemplateRequestSchema,
  SendTemplateRequestSchema,
  SendTemplatesRequestSchema,
  SendTemplatesResponseSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import { GetTicketRequestSchema, SignJsapiRequestSchema, TicketType } from '../../src/gen/lingpai/v1/ticket_pb.js';
import {
  ForceRefreshRequestSchema,
  GetRequestSchema,
  type TokenService,
  WatchTokenRequestSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { guarded } from '../../src/rpc/guarded.ts';
import { ADMIN_NEEDS, type MethodNeeds, TOKEN_NEEDS } from '../../src/rpc/method-rights.ts';
import { Guarded, LATER, WHO } from '../support/access.ts';
import { FakeClock } from '../support/clock.ts';
import { framed, RawConnection } from '../support/raw-http2.ts';

/** Apps by whether they are here, and whether the callers that are named for a verb have it for them. */
const APPS = {
  wxhere: { isHere: true, isCovered: true },
  wxgone: { isHere: false, isCovered: true },
  wxtheir: { isHere: true, isCovered: false },
  wxnever: { isHere: false, isCovered: false },
} as const;
type AppId = keyof typeof APPS;
const APP_IDS = Object.keys(APPS) as AppId[];

/** Each verb has a caller that has it for some apps, and one that has it for all. */
const RULES: Rule[] = VERBS.flatMap((verb) => [
  { who: [`key:${verb}`], may: [verb], apps: ['wxhere', 'wxgo*'] },
  { who: [`key:all-${verb}`], may: [verb], apps: ['*'] },
]);
const CALLERS = ['', 'key:none', ...VERBS.flatMap((verb) => [`key:${verb}`, `key:all-${verb}`])];

/** What the contract asks for, written down anew: a verb for the app, for all apps, any rule, or nothing. */
type Asks = Verb | `all ${Verb}` | 'a rule' | 'nothing' | `stream of ${Verb}`;
type Body = (appId: AppId) => Buffer;

const body = <Desc extends DescMessage>(desc: Desc, init: MessageInitShape<Desc>) =>
  framed(toBinary(desc, create(desc, init)));
const message = (appId: string): MessageInitShape<typeof SendTemplateRequestSchema> => ({
  appId,
  toUser: 'o',
  templateId: 't',
  data: { thing1: { value: 'x' } },
  channel: { case: 'subscribe', value: {} },
});
const permit = { toUser: 'o', kind: PermitKind.FORM_ID, value: 'f' };
const K = '/lingpai.v1.TicketService/';
const T = { s: '/lingpai.v1.TokenService/', m: '/lingpai.v1.MessageService/' };
const A = '/lingpai.v1.AdminService/';
const H = '/grpc.health.v1.Health/';

const METHODS: [what: string, path: string, asks: Asks, body: Body][] = [
  ['Get', `${T.s}Get`, 'read', (appId) => body(GetRequestSchema, { appId })],
  ['GetTicket', `${K}GetTicket`, 'read', (appId) => body(GetTicketRequestSchema, { appId, type: TicketType.JSAPI })],
  ['SignJsapi', `${K}SignJsapi`, 'read', (appId) => body(SignJsapiRequestSchema, { appId, url: 'http://a.example/' })],
  [
    'ForceRefresh of a token',
    `${T.s}ForceRefresh`,
    'read',
    (appId) => body(ForceRefreshRequestSchema, { appId, rejected: { case: 'rejectedToken', value: 'old' } }),
  ],
  [
    'ForceRefresh of a generation',
    `${T.s}ForceRefresh`,
    'read',
    (appId) => body(ForceRefreshRequestSchema, { appId, rejected: { case: 'rejectedGeneration', value: 1n } }),
  ],
  ['ForceRefresh of nothing', `${T.s}ForceRefresh`, 'refresh', (appId) => body(ForceRefreshRequestSchema, { appId })],
  ['WatchToken', `${T.s}WatchToken`, 'read', (appId) => body(WatchTokenRequestSchema, { appIds: [appId] })],
  ['WatchToken of all', `${T.s}WatchToken`, 'a rule', () => body(WatchTokenRequestSchema, {})],
  ['SendTemplate', `${T.m}SendTemplate`, 'send', (appId) => body(SendTemplateRequestSchema, message(appId))],
  [
    'SendTemplates',
    `${T.m}SendTemplates`,
    'stream of send',
    (appId) => body(SendTemplatesRequestSchema, { message: message(appId) }),
  ],
  [
    'DepositPermits',
    `${T.m}DepositPermits`,
    'send',
    (appId) => body(DepositPermitsRequestSchema, { appId, permits: [permit] }),
  ],
  ['CountPermits', `${T.m}CountPermits`, 'send', (appId) => body(CountPermitsRequestSchema, { appId })],
  ['ReviewTemplate', `${T.m}ReviewTemplate`, 'a rule', () => body(ReviewTemplateRequestSchema, { title: 'x' })],
  ['GetStatus', `${A}GetStatus`, 'status', (appId) => body(GetStatusRequestSchema, { appIds: [appId] })],
  ['GetStatus of all', `${A}GetStatus`, 'a rule', () => body(GetStatusRequestSchema, {})],
  ['ListCallers', `${A}ListCallers`, 'all admin', () => body(ListCallersRequestSchema, {})],
  ['Health.Check', `${H}Check`, 'nothing', () => body(HealthCheckRequestSchema, {})],
  ['Health.Watch', `${H}Watch`, 'nothing', () => body(HealthCheckRequestSchema, {})],
  ['Health.List', `${H}List`, 'nothing', () => body(HealthListRequestSchema, {})],
  ...['v1', 'v1alpha'].map((version): (typeof METHODS)[number] => [
    `reflection ${version}`,
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    'a rule',
    () => body(ServerReflectionRequestSchema, { messageRequest: { case: 'listServices', value: '' } }),
  ]),
];

const OK = '0';
const NOT_FOUND = '5';
const DENIED = '7';
const UNAUTHENTICATED = '16';

/** The naive oracle: the code of a call. `undefined`: whatever it is, it is neither of the two by which callers are refused. */
function oracle(caller: string, asks: Asks, appId: AppId): string | undefined {
  if (asks === 'nothing') return undefined;
  if (caller === '') return UNAUTHENTICATED;
  if (caller === 'key:none') return DENIED;
  if (asks === 'a rule') return undefined;
  const hasAll = caller.startsWith('key:all-');
  const verb = caller.replace('key:all-', '').replace('key:', '');
  if (asks.startsWith('all ')) return hasAll && asks === `all ${verb}` ? undefined : DENIED;
  const { isHere, isCovered } = APPS[appId];
  if (verb !== asks.replace('stream of ', '')) return DENIED;
  if (!hasAll && !isCovered) return DENIED;
  return isHere ? undefined : NOT_FOUND;
}

let broker: Guarded;
beforeAll(async () => {
  broker = await Guarded.started({ apps: { wxhere: 'stable', wxtheir: 'classic' }, rules: RULES });
});
afterAll(() => broker.stop());

interface Answered {
  /** The status; of a stream that stays open OK, once something has come of it. */
  readonly code: string;
  readonly fields: Record<string, unknown>;
  readonly body: Buffer;
}

const headersOf = (caller: string, isLater = false): Record<string, string> => ({
  ...(caller && { [WHO]: caller }),
  ...(isLater && { [LATER]: '1' }),
});

/** Calls, and lets time pass until there is an answer. */
async function answered<T>(call: Promise<T>): Promise<T> {
  let isOver = false;
  const over = call.finally(() => {
    isOver = true;
  });
  while (!isOver) await broker.world.clock.advance(10);
  return over;
}

async function grpc(path: string, bytes: Buffer, headers: Record<string, string>): Promise<Answered> {
  using raw = new RawConnection(broker.listeners.grpc.address);
  const stream = raw.open(path, bytes, headers);
  const fields: Record<string, unknown> = {};
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.on('response', (more) => Object.assign(fields, more));
  stream.on('trailers', (more) => Object.assign(fields, more));
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    resolve();
  });
  stream.once('close', resolve);
  await answered(promise);
  return { code: String(fields['grpc-status'] ?? OK), fields, body: Buffer.concat(chunks) };
}

async function web(path: string, bytes: Buffer, headers: Record<string, string>): Promise<Answered> {
  const url = `http://${broker.listeners.http.address}${path}`;
  const outgoing = httpRequest(url, {
    method: 'POST',
    agent: false,
    headers: { ...headers, 'content-type': 'application/grpc-web+proto' },
  });
  outgoing.on('error', () => {});
  outgoing.end(bytes);
  const [response] = (await answered(once(outgoing, 'response'))) as [IncomingMessage];
  const chunks: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  response.on('error', () => resolve());
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    // A message, and not the trailers: the stream may stay open.
    if (chunk[0] === 0) resolve();
  });
  response.once('close', resolve);
  await answered(promise);
  outgoing.destroy();
  const all = Buffer.concat(chunks);
  const code = response.headers['grpc-status'] ?? /grpc-status: (\d+)/.exec(all.toString('latin1'))?.[1] ?? OK;
  const { date, ...fields } = response.headers;
  return { code: String(code), fields, body: all };
}

/** The code of one message's outcome, of a stream of one. */
function outcomeCode({ code, body }: Answered): string {
  if (code !== OK || body.length === 0) return code;
  const { outcome } = fromBinary(SendTemplatesResponseSchema, body.subarray(5, 5 + body.readUInt32BE(1)));
  return outcome.case === 'failure' ? String(outcome.value.code) : OK;
}

const LISTENERS = { grpc, web };

describe.each(['grpc', 'grpc, found out later', 'web', 'web, found out later'])('on the listener %s', (listener) => {
  const ask = listener.startsWith('grpc') ? grpc : web;
  const isLater = listener.endsWith('later');
  const methods = METHODS.filter(
    ([, path]) => ask === grpc || (path.startsWith('/lingpai.v1.') && !path.endsWith('/SendTemplates')),
  );

  it.each(methods)('%s is answered as the contract says', async (_what, path, asks, bodyOf) => {
    const wrong: string[] = [];
    for (const caller of CALLERS)
      for (const appId of APP_IDS) {
        const got = await ask(path, bodyOf(appId), headersOf(caller, isLater));
        const code = asks.startsWith('stream of') ? outcomeCode(got) : got.code;
        const expected = oracle(caller, asks, appId);
        const isRight = expected === undefined ? code !== DENIED && code !== UNAUTHENTICATED : code === expected;
        if (!isRight) wrong.push(`${caller || 'nobody'} on ${appId}: ${code}, not ${expected ?? 'what is allowed'}`);
      }
    expect(wrong).toEqual([]);
  });

  it('every path is in the matrix', () => {
    const paths = broker.listeners[ask === grpc ? 'grpc' : 'http'].paths.filter((path) => path.includes('.'));
    const known = new Set(METHODS.map(([, path]) => path));
    expect(paths.filter((path) => !known.has(path))).toEqual([]);
  });
});

describe('a page', () => {
  it.each([
    ['/livez', 'nothing'],
    ['/readyz', 'nothing'],
    ['/readyz?apps', 'all status'],
    ['/readyz?x=1&apps=', 'all status'],
    ['/metrics', 'all status'],
  ] as const)('%s is shown to who may see it', async (path, asks) => {
    const statuses: Record<string, number> = {};
    for (const caller of CALLERS) {
      const response = await fetch(`http://${broker.listeners.http.address}${path}`, { headers: headersOf(caller) });
      await response.arrayBuffer();
      statuses[caller] = response.status;
    }
    for (const caller of CALLERS) {
      const expected = oracle(caller, asks, 'wxhere');
      if (expected === undefined) expect([200, 503]).toContain(statuses[caller]);
      else expect(statuses[caller]).toBe(expected === DENIED ? 403 : 401);
    }
  });
});

describe('an app that is not here is answered as one that the caller has no right to', () => {
  /** An answer without the name of its app, also where it stands in base64. */
  const without = (appId: string, { fields, body }: Answered) => {
    const details = Buffer.from(String(fields['grpc-status-details-bin'] ?? ''), 'base64').toString('latin1');
    const text = JSON.stringify([
      { ...fields, 'grpc-status-details-bin': undefined },
      details,
      body.toString('latin1'),
    ]);
    return text
      .replace(/[\w+/]+={0,2}(?=\\r\\n)/g, (part) => Buffer.from(part, 'base64').toString('latin1'))
      .replaceAll(appId, 'APP');
  };
  const named = METHODS.filter(([, , asks]) => (VERBS as readonly string[]).includes(asks));

  it.each(named)('%s, byte for byte', async (_what, path, asks, bodyOf) => {
    for (const ask of Object.values(LISTENERS)) {
      for (const caller of ['key:none', `key:${asks}`, 'key:call']) {
        const [their, never] = [
          await ask(path, bodyOf('wxtheir'), headersOf(caller)),
          await ask(path, bodyOf('wxnever'), headersOf(caller)),
        ];
        expect(their.code).toBe(DENIED);
        expect(without('wxnever', never)).toBe(without('wxtheir', their));
      }
    }
  });
});

it('what is wrong with a request is told to those who have the right alone', async () => {
  const wrong = body(GetRequestSchema, { appId: 'wxhere', minGeneration: 2n ** 63n });
  expect((await grpc(`${T.s}Get`, wrong, headersOf('key:read'))).code).toBe('3');
  expect((await grpc(`${T.s}Get`, wrong, headersOf('key:send'))).code).toBe(DENIED);
  const none = body(GetRequestSchema, { appId: '' });
  expect((await grpc(`${T.s}Get`, none, headersOf('key:read'))).code).toBe(DENIED);
  expect((await grpc(`${T.s}Get`, none, headersOf('key:all-read'))).code).toBe('3');
});

describe('a method without a row', () => {
  it('does not compile', () => {
    const { getStatus } = ADMIN_NEEDS;
    // @ts-expect-error: listCallers has no row.
    const needs: MethodNeeds<typeof AdminService> = { getStatus };
    expect(Object.keys(needs)).toEqual(['getStatus']);
    const { get, forceRefresh, watchToken } = TOKEN_NEEDS;
    // @ts-expect-error: a row for a method that there is not.
    const more: MethodNeeds<typeof TokenService> = { get, forceRefresh, watchToken, guess: get };
    expect(more).toBeTruthy();
  });

  it('is not served either', () => {
    const method = () => ({});
    const impl = { getStatus: method, listCallers: method };
    const { getStatus } = ADMIN_NEEDS;
    const access = Access.open(new FakeClock());
    expect(() => guarded({ desc: AdminService, impl }, { getStatus } as never, access)).toThrow(
      /no row for listCallers/,
    );
  });
});
