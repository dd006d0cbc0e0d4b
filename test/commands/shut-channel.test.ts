import { expect, it } from 'vitest';
import { sendingPlace } from '../support/sending.ts';

it('a channel that WeChat shut is in the status, and an operator has it tried again', async () => {
  await using place = await sendingPlace();
  const { broker, grpc } = await place.serve();
  const addr = ['--addr', grpc];
  const flags = ['--app', 'wxa', '--to', 'u1', '--template', 't1', '--channel', 'subscribe', '--data', 'thing1=x'];
  const send = () => place.run('send', ...flags, ...addr);
  const spend = async () => {
    place.wechat.faults.inject({
      effect: { kind: 'errcode', errcode: 45009, errmsg: 'reach max api daily quota limit' },
      calls: ['message_subscribe'],
      count: 1,
    });
    expect((await send()).output).toMatch(/clear_quota.*"lingpai refresh wxa".*DAILY_QUOTA_EXHAUSTED.*try again in/);
  };
  await spend();
  expect((await send()).code).toBe(1);
  const { output } = await place.run('status', ...addr);
  expect(output).toMatch(
    /\nwxa: messages by subscribe are refused until \S+Z \(1[45]:\d\d\), when one is tried: .*45009.*DAILY_QUOTA_EXHAUSTED.*clear_quota/,
  );
  const json = JSON.parse((await place.run('status', 'wxa', '--json', ...addr)).output);
  expect(json.apps[0].shutChannels).toMatchObject([{ channel: 'subscribe', reason: 'DAILY_QUOTA_EXHAUSTED' }]);

  expect((await place.run('refresh', 'wxa', ...addr)).output).toMatch(/^REFRESHED/);
  expect((await place.run('status', ...addr)).output).not.toContain('refused');
  expect((await send()).code).toBe(0);

  await spend();
  broker.signal('SIGHUP');
  await broker.next('"configuration reloaded"', (line) => line.msg === 'configuration reloaded');
  expect((await send()).code).toBe(0);
});
