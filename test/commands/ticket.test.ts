import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { jsapiText } from '../../src/core/tickets/jsapi-signature.ts';
import { Place } from '../support/lingpai.ts';
import { RedisServer } from '../support/redis.ts';

/** Calls of getticket that reached the simulated WeChat. */
const callsOf = ({ wechat }: Place) => wechat.wechat.calls.filter(({ kind }) => kind === 'ticket').length;
const ticketOf = ({ wechat }: Place) => wechat.wechat.tickets('wxa')[0]?.value ?? '';

it('ticket shows a ticket without its value, and sign what wx.config needs', async () => {
  await using place = await Place.make();
  await place.configure();
  const { broker, grpc, http } = await place.serve();
  const text = await place.run('ticket', 'wxa', '--addr', grpc);
  const value = ticketOf(place);
  const id = createHash('sha256').update(value).digest('hex').slice(0, 12);
  expect(text.code).toBe(0);
  expect(text.output).toMatch(/app {4}wxa\ntype {3}jsapi\nticket \w{12}, expires in (1:59:5\d|2:00:00)\n/);
  expect(text.output).toContain(`${id}, expires in`);
  expect(text.output).not.toContain(value);
  const masked = JSON.parse((await place.run('ticket', 'wxa', '--addr', grpc, '--json')).output);
  expect(masked).toMatchObject({ appId: 'wxa', type: 'jsapi', ticket: { value: '(hidden)', id } });
  const shown = await place.run('ticket', 'wxa', '--type', 'jsapi', '--addr', grpc, '--json', '--show-token');
  expect(JSON.parse(shown.output).ticket.value).toBe(value);
  expect((await place.run('ticket', 'wxa', '--addr', grpc, '--show-token')).output).toContain(value);

  const url = 'https://a.example/b?c=d';
  const signed = JSON.parse((await place.run('sign', 'wxa', `${url}#e`, '--addr', grpc, '--json')).output);
  const { timestamp, nonceStr: nonce, signature } = signed;
  expect(signed).toMatchObject({ appId: 'wxa', nonceStr: expect.stringMatching(/^[\w-]{16}$/) });
  expect(Math.abs(timestamp * 1000 - Date.now())).toBeLessThan(60_000);
  const expected = createHash('sha1')
    .update(jsapiText({ ticket: value, nonce, timestamp, url }))
    .digest('hex');
  expect(signature).toBe(expected);
  const lines = (await place.run('sign', 'wxa', url, '--addr', grpc)).output;
  expect(lines).toMatch(/^appId {6}wxa\ntimestamp {2}\d+\nnonceStr {3}[\w-]{16}\nsignature {2}[0-9a-f]{40}\n$/);
  expect(callsOf(place)).toBe(1);

  const metrics = await (await fetch(`http://${http}/metrics`)).text();
  expect(metrics).toMatch(/lingpai_ticket_seconds_left\{app_id="wxa",type="jsapi"\} 7\d{3}/);
  broker.signal('SIGTERM');
  expect(await broker.ended()).toBe(0);
  expect(broker.output).not.toContain(value);
  expect(broker.lines).toContainEqual(expect.objectContaining({ msg: 'ticket rotated', ticket_id: id }));
  const read = broker.lines.filter(({ event, kind }) => event === 'token.read' && kind === 'jsapi');
  expect(read).toMatchObject([{ app_id: 'wxa', token_ids: [id], count: 4 }]);
});

it('says what is wrong, and with what', async () => {
  await using place = await Place.make();
  await place.configure();
  const { grpc } = await place.serve();
  const unknown = await place.run('ticket', 'wxnobody', '--addr', grpc);
  expect(unknown).toMatchObject({ code: 1, output: expect.stringContaining('no app "wxnobody" is configured') });
  const page = await place.run('sign', 'wxa', 'a.example', '--addr', grpc);
  expect(page).toMatchObject({ code: 1, output: expect.stringMatching(/url.*http:\/\//) });
  expect((await place.run('ticket', 'wxa', '--type', 'other', '--addr', grpc)).code).toBe(2);
  place.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 48001 }, calls: ['ticket'] });
  const refused = await place.run('ticket', 'wxa', '--addr', grpc, '--json');
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.output.split('\n')[0] ?? '').error).toMatchObject({ reason: 'INTERFACE_NOT_GRANTED' });
});

describe.each(['sqlite', 'redis'])('with %s', (kind) => {
  it('P10: kill -9 and a restart cost no call of getticket', async () => {
    await using undo = new AsyncDisposableStack();
    const place = undo.use(await Place.make());
    const url = kind === 'redis' ? undo.use(await RedisServer.start()).url() : 'sqlite:lingpai.db';
    await place.configure({ store: { url } });
    const first = await place.serve();
    await place.run('ticket', 'wxa', '--addr', first.grpc);
    first.broker.signal('SIGKILL');
    await first.broker.ended();
    const second = await place.serve();
    const shown = await place.run('ticket', 'wxa', '--addr', second.grpc, '--json', '--show-token');
    expect(JSON.parse(shown.output).ticket.value).toBe(ticketOf(place));
    expect(callsOf(place)).toBe(1);
  });
});

it('P6: two replicas on one Redis make one call of getticket, though both are asked at once', async () => {
  await using undo = new AsyncDisposableStack();
  const redis = undo.use(await RedisServer.start());
  const place = undo.use(await Place.make());
  await place.configure({ store: { url: redis.url() } });
  const replicas = [await place.serve(), await place.serve()];
  place.wechat.faults.inject({ effect: { kind: 'latency', ms: 300 }, calls: ['ticket'] });
  const ask = ({ grpc }: { grpc: string }) =>
    place.run('ticket', 'wxa', '--addr', grpc, '--json', '--show-token').then(({ output }) => JSON.parse(output));
  const got = await Promise.all([...replicas, ...replicas].map(ask));
  expect(new Set(got.map(({ ticket }) => ticket.value))).toEqual(new Set([ticketOf(place)]));
  expect(callsOf(place)).toBe(1);
  expect(await redis.command('KEYS *ticket-claim*')).toMatch(/^\*0\r\n/);
});
