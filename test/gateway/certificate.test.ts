import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { expect, it } from 'vitest';
import { makeKey } from '../support/access-key.ts';
import { issue } from '../support/certificates.ts';
import { type Answered, type Housed, housed } from '../support/gateway.ts';

const ca = issue({ name: 'servers', isCa: true });
const server = issue({ name: 'server', names: ['dns:api.weixin.qq.com'], by: ca });
/** The broker's clock is driven, and stands at another time than this machine's. */
const notBefore = Date.UTC(2026, 0, 1);
const clientCa = issue({ name: 'clients', isCa: true });
const client = issue({ name: 'client', names: ['dns:orders'], by: clientCa, notBefore });
const stranger = issue({ name: 'stranger', names: ['dns:orders'], by: issue({ name: 'others', isCa: true }) });
const key = makeKey('crm');
const RULES = [
  { who: ['dns:orders'], may: ['call'], apps: ['wxc'] },
  { who: ['key:crm'], may: ['call'], apps: ['wxs'] },
] as const;

const guarded = () =>
  housed({ keys: [key], rules: RULES, tls: { cert: server.cert, key: server.key, clientCa: clientCa.cert } });

/** As an SDK asks that thinks it talks to WeChat, by a name that was made to lead here. */
async function ask({ port }: Housed, path: string, shown?: { cert: string; key: string }): Promise<Answered> {
  using agent = Object.assign(new Agent({ ca: ca.cert, ...(shown && { cert: shown.cert, key: shown.key }) }), {
    [Symbol.dispose]() {
      agent.destroy();
    },
  });
  const headers = { host: 'api.weixin.qq.com' };
  const outgoing = request({ host: '127.0.0.1', port, path, agent, headers, servername: 'api.weixin.qq.com' });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  expect(response.statusCode).toBe(200);
  return JSON.parse(Buffer.concat(chunks).toString());
}

const token = (app: string, secret: string) =>
  `/cgi-bin/token?grant_type=client_credential&appid=${app}&secret=${secret}`;

it('a caller is known by its certificate at each call, whatever it sends as secret', async () => {
  const house = await guarded();
  for (const secret of ['', 'anything', '0123456789abcdef0123456789abcdef']) {
    const { access_token: standIn = '' } = await ask(house, token('wxc', secret), client);
    expect(standIn).toMatch(/^lps1\./);
    expect(await ask(house, `/cgi-bin/x?access_token=${standIn}`, client)).toMatchObject({ errcode: 0 });
    expect(await ask(house, `/cgi-bin/x?access_token=${standIn}`)).toMatchObject({ errcode: 48001 });
    expect(await ask(house, `/cgi-bin/x?access_token=${standIn}`, stranger)).toMatchObject({ errcode: 40001 });
  }
  expect(house.forwarder.calls.map(({ appId }) => appId)).toEqual(['wxc', 'wxc', 'wxc']);
});

it('a key that is shown decides alone, for a stand-in as for its calls', async () => {
  const house = await guarded();
  expect(await ask(house, token('wxc', key.key), client)).toMatchObject({ errcode: 40013 });
  const { access_token: standIn = '' } = await ask(house, token('wxs', key.key), client);
  expect(await ask(house, `/cgi-bin/x?access_token=${standIn}`)).toMatchObject({ errcode: 0 });
  expect(await ask(house, token('wxc', makeKey('x').key), client)).toMatchObject({ errcode: 40125 });
});

it('without either a caller is nobody', async () => {
  const house = await guarded();
  expect(await ask(house, token('wxc', 'anything'))).toMatchObject({ errcode: 40125 });
  expect(await ask(house, token('wxc', ''))).toMatchObject({ errcode: 41004 });
  expect(await ask(house, token('wxc', 'anything'), stranger)).toMatchObject({ errcode: 40125 });
});
