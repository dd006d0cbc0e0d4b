import { afterEach, beforeEach, expect, it } from 'vitest';
import { Guarded, WHO } from '../support/access.ts';

let broker: Guarded;
beforeEach(async () => {
  const rules = [{ who: ['key:oncall'], may: ['admin' as const], apps: ['wxa', 'wxgone'] }];
  broker = await Guarded.started({ apps: { wxa: 'classic', wxb: 'classic' }, rules });
});
afterEach(() => broker.stop());

async function ask(method: string, request: object): Promise<{ status: number; reason: string; message: string }> {
  const response = await fetch(`http://${broker.listeners.http.address}/lingpai.v1.AdminService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', [WHO]: 'key:oncall' },
    body: JSON.stringify(request),
  });
  const { details = [], message = '' } = (await response.json()) as {
    details?: { debug?: { reason?: string } }[];
    message?: string;
  };
  const [reason = ''] = details.flatMap(({ debug }) => debug?.reason ?? []);
  return { status: response.status, reason, message };
}

const CALLS: [method: string, event: string, request: object][] = [
  ['GetQuota', 'quota.read', { cgiPath: '/cgi-bin/menu/get' }],
  ['ClearQuota', 'quota.cleared', {}],
  ['GetRequest', 'request.read', { rid: '6b0cd290-32a1f6ac-0881b87d' }],
  ['ProbeToken', 'token.probed', { token: 't' }],
];

it.each(CALLS)('%s is recorded as %s, with what became of it', async (method, event, request) => {
  expect(await ask(method, { appId: 'wxa', ...request })).toMatchObject({ status: 200 });
  expect((await ask(method, { appId: 'wxgone', ...request })).status).toBe(404);
  expect((await ask(method, { appId: 'wxb', ...request })).status).toBe(403);
  expect(broker.audit.events.filter((each) => each.event === event)).toMatchObject([
    { appId: 'wxa', outcome: 'OK', call: { caller: { name: 'key:oncall' } } },
    { appId: 'wxgone', outcome: 'APP_NOT_FOUND' },
  ]);
});

it.each(CALLS)('%s is not done where it cannot be recorded', async (method, event, request) => {
  broker.audit.writable = false;
  expect(await ask(method, { appId: 'wxa', ...request })).toMatchObject({ status: 503 });
  expect(broker.audit.events.filter((each) => each.event === event)).toEqual([]);
});

it.each<[string, object, RegExp]>([
  ['GetQuota', { cgiPath: '/cgi-bin/menu/get', appId: '' }, /app_id/],
  ['GetQuota', { cgiPath: '' }, /cgi_path must be a path/],
  ['GetQuota', { cgiPath: 'cgi-bin/menu/get' }, /cgi_path/],
  ['GetQuota', { cgiPath: '/cgi-bin/menu/get?a=b' }, /cgi_path/],
  ['GetQuota', { cgiPath: '/cgi-bin/menu#x' }, /cgi_path/],
  ['GetQuota', { cgiPath: '/cgi bin' }, /cgi_path/],
  ['GetQuota', { cgiPath: `/${'a'.repeat(256)}` }, /cgi_path/],
  ['GetRequest', { rid: '' }, /rid must be three hexadecimal numbers/],
  ['GetRequest', { rid: 'a-b-c-d' }, /rid/],
  ['GetRequest', { rid: `a-b-${'c'.repeat(17)}` }, /rid/],
  ['GetRequest', { rid: 'a-b-c\n' }, /rid/],
  ['ProbeToken', { token: '' }, /token must have 1 to 2048 characters, has 0/],
  ['ProbeToken', { token: 'a'.repeat(2049) }, /token must have 1 to 2048 characters, has 2049/],
])('%s of %j is wrong', async (method, request, words) => {
  const answer = await ask(method, { appId: 'wxa', ...request });
  // Which app it is about decides first whether the caller may ask at all.
  if ('appId' in request) expect(answer.status).toBe(403);
  else expect(answer).toEqual({ status: 400, reason: expect.anything(), message: expect.stringMatching(words) });
});
