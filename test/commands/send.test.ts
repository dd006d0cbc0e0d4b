import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Place } from '../support/lingpai.ts';
import { until } from '../support/rpc.ts';
import { messageTo, notOnce, results, sendingPlace, writeMessages } from '../support/sending.ts';

const users = (count: number) => Array.from({ length: count }, (_, i) => `openid-${i + 1}`);

describe('send, one message', () => {
  let place: Place;
  let addr: string[];
  beforeAll(async () => {
    place = await sendingPlace();
    addr = ['--addr', (await place.serve()).grpc];
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it.each([
    [[], '--app is missing (or, for a file of messages, --file)'],
    [['--file', 'nowhere.ndjson'], '--file FOLDER/nowhere.ndjson cannot be read: it does not exist'],
    [['--file', '.'], '--file FOLDER cannot be read: it is a folder'],
    [['--file', 'empty.ndjson'], '--file FOLDER/empty.ndjson has no messages'],
    [['--file', 'gbk.ndjson'], '--file FOLDER/gbk.ndjson cannot be read: it is not UTF-8 (line 2); save it as UTF-8'],
  ])('with %j alone says what is wrong: exit code 2', async (flags, words) => {
    await writeFile(join(place.folder, 'empty.ndjson'), ' \n');
    await writeFile(join(place.folder, 'gbk.ndjson'), Buffer.from([0x7b, 0x7d, 0x0a, 0xd6, 0xd0]));
    const { code, output } = await place.run('send', ...flags, ...addr);
    const expected = words.replace('FOLDER', place.folder);
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(expected) });
    expect(existsSync(join(place.folder, 'empty.ndjson.results'))).toBe(false);
    expect(existsSync(join(place.folder, 'gbk.ndjson.results'))).toBe(false);
  });

  const send = (...flags: string[]) => place.run('send', '--app', 'wxa', '--template', 't1', ...flags, ...addr);

  it('by each channel, with what belongs to it', async () => {
    place.wechat.wechat.messages('wxa').permits.addForm({
      formId: 'f1',
      toUser: 'u1',
      kind: 'form_id',
      collectTime: Date.now(),
    });
    const [subscribe, official, notice, mini] = [
      await send('--to', 'u1', '--channel', 'subscribe', '--data', 'thing1=a=b', '--page', 'p', '--state', 'trial'),
      await send('--to', 'u1', '--channel', 'official_account', '--data', 'first=x', '--url', 'https://a.example/'),
      await send(
        ...['--to', 'u1', '--channel', 'subscription_notice', '--data', 'thing1=x', '--page', 'https://a.example/'],
        ...['--mini-program-app', 'wx2', '--mini-program-page', 'p'],
      ),
      await send(
        '--to',
        'u1',
        '--channel',
        'mini_program',
        '--data-json',
        '{"k1":{"value":"x","color":"#173177"}}',
        '--form-id',
        'f1',
        '--emphasis',
        'k1',
      ),
    ];
    expect([subscribe, official, notice, mini].map(({ code }) => code)).toEqual([0, 0, 0, 0]);
    expect(subscribe.output).toMatch(/^sent: message id \d{17,}\n$/);
    expect(place.wechat.wechat.messages('wxa').inbox.messages('u1')).toMatchObject([
      {
        channel: 'mini_program',
        formId: 'f1',
        emphasisKeyword: 'k1.DATA',
        data: { k1: { value: 'x', color: '#173177' } },
      },
      {
        channel: 'subscription_notice',
        page: 'https://a.example/',
        miniProgramAppId: 'wx2',
        miniProgramPage: 'p',
        data: { thing1: { value: 'x' } },
      },
      { channel: 'official_account', url: 'https://a.example/', data: { first: { value: 'x' } } },
      { channel: 'subscribe', page: 'p', miniProgramState: 'trial', data: { thing1: { value: 'a=b' } } },
    ]);
  });

  it('once for a key', async () => {
    const flags = ['--to', 'u2', '--channel', 'subscribe', '--data', 'thing1=x', '--key', 'k'];
    const first = JSON.parse((await send(...flags, '--json')).output);
    const second = JSON.parse((await send(...flags, '--json')).output);
    expect(second).toEqual({ ...first, replayed: true });
    const other = await send(...flags, '--data', 'thing2=y');
    expect([other.code, other.output]).toEqual([1, expect.stringContaining('IDEMPOTENCY_KEY_REUSED')]);
    expect(place.wechat.wechat.messages('wxa').inbox.count('u2')).toBe(1);
  });

  it('says what WeChat said', async () => {
    const refused = await send('--to', 'u3', '--channel', 'subscribe', '--data', 'thing1=', '--json');
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.output.slice(0, refused.output.indexOf('\n')));
    expect(error).toMatchObject({ code: 'InvalidArgument', reason: 'DATA_INVALID', metadata: { errcode: '47003' } });
  });

  it.each([
    [['--to', 'u'], '--channel is missing'],
    [['--channel', 'subscribe'], '--to is missing'],
    [['--to', 'u', '--channel', 'pigeon'], 'Allowed choices'],
    [['--to', 'u', '--channel', 'subscribe', '--url', 'https://a'], '--url belongs to --channel official_account'],
    [
      ['--to', 'u', '--channel', 'subscribe', '--mini-program-app', 'wx2'],
      '--mini-program-app belongs to --channel official_account and subscription_notice',
    ],
    [['--to', 'u', '--channel', 'subscription_notice', '--lang', 'zh_CN'], '--lang belongs to --channel subscribe'],
    [['--to', 'u', '--channel', 'subscribe', '--data', 'x'], 'write NAME=VALUE'],
    [['--to', 'u', '--channel', 'subscribe', '--data-json', '[1]'], '--data-json'],
    [['--to', 'u', '--channel', 'subscribe', '--data', 'x=1', '--data', 'x=2'], '--data: x is given twice'],
    [['--to', 'u', '--channel', 'subscribe', '--data', 'x=1', '--data-json', '{"x":"2"}'], '--data: x is given twice'],
    [['--file', 'f', '--timeout', '5'], '--app, --template, --timeout: for one message'],
  ])('%j is wrong usage: exit code 2', async (flags, words) => {
    const { code, output } = await send(...flags);
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
  });
});

describe('send --file', () => {
  it('sends every good line once, names the bad ones, and repeats nothing', async () => {
    await using place = await sendingPlace();
    const { grpc } = await place.serve();
    const all = users(300);
    await writeMessages(place, [
      ...all.slice(0, 150).map((user) => messageTo(user)),
      'not json',
      '',
      messageTo('hush-openid', { templateId: '' }),
      messageTo('hush-openid', { data: { thing1: { value: '' } } }),
      ...all.slice(150).map((user) => messageTo(user, { subscribe: undefined, officialAccount: {} })),
    ]);
    const first = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect(first.code).toBe(1);
    expect(first.output).toContain('303 messages: 300 sent, 3 refused');
    expect(first.output).toContain('2  INVALID_REQUEST (line 151, 153); e.g. line 151: the line is not JSON');
    expect(first.output).toMatch(/1 {2}DATA_INVALID \(line 154\): /);
    expect(first.output).toContain('303 of 303 (100%)');
    const [start = ''] = (await readFile(join(place.folder, 'messages.ndjson.results'), 'utf8')).split('\n');
    expect(Math.abs(Date.now() - Date.parse(JSON.parse(start).run))).toBeLessThan(3_600_000);
    const records = await results(place);
    expect(records).toHaveLength(303);
    expect(records.find(({ line }) => line === 1)).toMatchObject({
      correlation_id: '1',
      outcome: 'sent',
      message_id: expect.stringMatching(/^\d{17,}$/),
    });
    expect(records.find(({ line }) => line === 154)).toMatchObject({
      outcome: 'refused',
      reason: 'DATA_INVALID',
      errcode: '47003',
    });
    expect(first.output + JSON.stringify(records)).not.toMatch(/openid-|hush/);

    const second = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc, '--json');
    const line = second.output.split('\n').find((each) => each.startsWith('{')) ?? '';
    expect(JSON.parse(line)).toMatchObject({ lines: 303, sent: 300, refused: 3, retry: 0, unknown: 0, open: 0 });
    expect(second.code).toBe(1);
    expect(await results(place)).toHaveLength(303);
    expect(notOnce(place, all)).toEqual({});
    expect(place.wechat.wechat.messages('wxa').inbox.count()).toBe(300);
  });

  it('tries again what may succeed, and only that', async () => {
    await using place = await sendingPlace();
    const { grpc } = await place.serve();
    const all = users(20);
    await writeMessages(
      place,
      all.map((user) => messageTo(user, { subscribe: undefined, miniProgram: {} })),
    );
    const first = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect([first.code, first.output]).toEqual([
      1,
      expect.stringMatching(/20 to be tried again[\s\S]*20 {2}PERMIT_MISSING/),
    ]);
    const { permits } = place.wechat.wechat.messages('wxa');
    const deposit = all.map((toUser, i) => {
      permits.addForm({ formId: `f${i}`, toUser, kind: 'form_id', collectTime: Date.now() });
      return JSON.stringify({ toUser, kind: 'PERMIT_KIND_FORM_ID', value: `f${i}` });
    });
    await writeFile(join(place.folder, 'permits.ndjson'), deposit.join('\n'));
    expect((await place.run('permits', 'wxa', '--deposit', 'permits.ndjson', '--addr', grpc)).output).toContain(
      '20 deposited',
    );
    const second = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect([second.code, second.output]).toEqual([0, expect.stringContaining('20 sent\n')]);
    expect(notOnce(place, all)).toEqual({});
  });

  it('on Ctrl-C finishes what is under way, and goes on from there', async () => {
    await using place = await sendingPlace({ messages: { rate: 400 } });
    const { grpc } = await place.serve();
    const all = users(1_000);
    await writeMessages(
      place,
      all.map((user) => messageTo(user)),
    );
    const child = place.lingpai('send', '--file', 'messages.ndjson', '--addr', grpc);
    await arrived(place, 200);
    child.signal('SIGINT');
    expect(await child.ended()).toBe(1);
    expect(child.output).toMatch(/interrupted; left: \d+ messages\. Run the same command again/);
    // All that arrived have their result.
    const sent = (await results(place)).filter(({ outcome }) => outcome === 'sent').length;
    expect(sent).toBe(place.wechat.wechat.messages('wxa').inbox.count());
    expect(sent).toBeLessThan(1_000);
    expect((await place.run('send', '--file', 'messages.ndjson', '--addr', grpc)).code).toBe(0);
    expect(notOnce(place, all)).toEqual({});
  });

  it('killed again and again, and the broker with it, sends nothing twice and loses nothing', async () => {
    await using place = await sendingPlace();
    const all = users(1_500);
    await writeMessages(
      place,
      all.map((user) => messageTo(user, { subscribe: undefined, officialAccount: {} })),
    );
    let { broker, grpc } = await place.serve();
    await place.configure({ refresh: { probe_interval: '0s' }, grpc: { listen: grpc } });
    for (let goal = 300; goal <= 900; goal += 300) {
      const child = place.lingpai('send', '--file', 'messages.ndjson', '--addr', grpc);
      await arrived(place, goal);
      if (goal === 600) {
        broker.signal('SIGKILL');
        await broker.ended();
        expect(await child.ended()).toBe(1);
        expect(child.output).toContain('Run the same command again');
        ({ broker } = await place.serve());
      } else child.signal('SIGKILL');
      await child.ended();
    }
    const last = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect([last.code, last.output]).toEqual([0, expect.stringContaining('1500 sent\n')]);
    expect(notOnce(place, all)).toEqual({});
    broker.signal('SIGTERM');
    await broker.ended();
    expect(broker.output).not.toMatch(/openid-/);
  });

  it('a broker that shuts down answers what is under way, and the rest is sent by the next', async () => {
    await using place = await sendingPlace({ messages: { rate: 400 } });
    const { broker, grpc } = await place.serve();
    const all = users(1_000);
    await writeMessages(
      place,
      all.map((user) => messageTo(user)),
    );
    const child = place.lingpai('send', '--file', 'messages.ndjson', '--addr', grpc);
    await arrived(place, 100);
    const before = performance.now();
    broker.signal('SIGTERM');
    expect(await broker.ended()).toBe(0);
    expect(performance.now() - before).toBeLessThan(15_000);
    expect(await child.ended()).toBe(1);
    expect(child.output).toMatch(/shutting down.*\nWithout a result: \d+ messages/);
    const sent = (await results(place)).filter(({ outcome }) => outcome === 'sent').length;
    expect(sent).toBe(place.wechat.wechat.messages('wxa').inbox.count());
    await place.configure({ refresh: { probe_interval: '0s' } });
    const next = await place.serve();
    expect((await place.run('send', '--file', 'messages.ndjson', '--addr', next.grpc)).code).toBe(0);
    expect(notOnce(place, all)).toEqual({});
  });

  it('is refused while another run sends the same file, and not once that was killed', async () => {
    await using place = await sendingPlace({ messages: { rate: 1 } });
    const { grpc } = await place.serve();
    await writeMessages(
      place,
      users(100).map((user) => messageTo(user)),
    );
    const first = place.lingpai('send', '--file', 'messages.ndjson', '--addr', grpc);
    await arrived(place, 1);
    const second = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect([second.code, second.output]).toEqual([1, expect.stringContaining('another run is sending this file')]);
    first.signal('SIGKILL');
    await first.ended();
    const third = place.lingpai('send', '--file', 'messages.ndjson', '--addr', grpc);
    await arrived(place, 2);
    third.signal('SIGKILL');
    expect(await third.ended()).toBe(137);
  });

  it('does not go on from the results of another content', async () => {
    await using place = await sendingPlace();
    const { grpc } = await place.serve();
    const path = await writeMessages(
      place,
      users(3).map((user) => messageTo(user)),
    );
    expect((await place.run('send', '--file', 'messages.ndjson', '--addr', grpc)).code).toBe(0);
    await writeFile(path, `${await readFile(path, 'utf8')}${JSON.stringify(messageTo('openid-4'))}\n`);
    const changed = await place.run('send', '--file', 'messages.ndjson', '--addr', grpc);
    expect([changed.code, changed.output]).toEqual([2, expect.stringContaining('has changed since')]);
    expect(place.wechat.wechat.messages('wxa').inbox.count()).toBe(3);
  });

  it('a broker that is not there is said at once', async () => {
    await using place = await sendingPlace();
    await writeMessages(place, [messageTo('openid-1')]);
    const { code, output } = await place.run('send', '--file', 'messages.ndjson', '--addr', '127.0.0.1:1');
    expect([code, output]).toEqual([1, expect.stringContaining('Is a broker running at 127.0.0.1:1?')]);
  });
});

/** Waits until so many messages have arrived; the test's time limit is its end. */
async function arrived(place: Place, count: number): Promise<void> {
  const { inbox } = place.wechat.wechat.messages('wxa');
  await until(() => inbox.count() >= count);
}
