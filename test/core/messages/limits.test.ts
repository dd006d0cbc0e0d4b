import { describe, expect, it } from 'vitest';
import { MAX_HELD } from '../../../src/core/messages/sender.ts';
import { settle } from '../../support/clock.ts';
import { type AttemptFault, MessageWorld, message, type Told } from '../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const errcode = (code: number): AttemptFault => ({ kind: 'errcode', errcode: code });
const slow: AttemptFault = { kind: 'slow', ms: SECOND };
const base = message('official_account');

/** Sends this many messages at once; `told` fills as they are answered. */
function burst(world: MessageWorld, count: number, one = base): { told: Told[] } {
  const told: Told[] = [];
  for (let i = 0; i < count; i++) void world.tell(one).then((each) => told.push(each));
  return { told };
}

describe('limits', () => {
  it('keep to the concurrency, and answer all', async () => {
    const world = new MessageWorld({ settings: { concurrency: 5 } });
    world.api.fault = slow;
    const { told } = burst(world, 50);
    await world.clock.advance(9 * SECOND + 999);
    expect(told).toHaveLength(45);
    await world.clock.advance(1);
    expect(told).toHaveLength(50);
    expect(world.api.mostUnderWay).toBe(5);
    expect(world.clock.pending).toBe(0);
  });

  it('keep to the rate', async () => {
    const world = new MessageWorld({ settings: { ratePerSecond: 10 } });
    const { told } = burst(world, 50);
    await world.clock.advance(SECOND);
    expect(told).toHaveLength(11);
    await world.clock.advance(4 * SECOND);
    expect(told).toHaveLength(50);
    expect(world.clock.pending).toBe(0);
  });

  it('send in the order of coming', async () => {
    const world = new MessageWorld({ settings: { ratePerSecond: 10 } });
    for (let i = 0; i < 20; i++) void world.tell(message('official_account', { text: `${i}` }));
    await world.clock.advance(3 * SECOND);
    const texts = world.api.attempts.map(({ message: { data } }) => data['keyword1']?.value);
    expect(texts).toEqual(Array.from({ length: 20 }, (_, i) => `${i}`));
  });

  it('let only so many wait, and tell the others when to come back', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1, maxWaiting: 3, ratePerSecond: 1 } });
    world.api.fault = slow;
    const { told } = burst(world, 6);
    await settle();
    expect(told).toMatchObject(Array(2).fill({ reason: 'SEND_LIMIT_EXCEEDED', retryAfterMs: 3 * SECOND }));
    await world.clock.advance(10 * SECOND);
    expect(world.wechat.accepted).toHaveLength(4);
    expect(world.ledger.journal).toHaveLength(4);
  });

  it('leave half of the room to wait to other callers, where callers have names', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1, maxWaiting: 4, ratePerSecond: 1 } });
    world.api.fault = slow;
    const greedy = burst(world, 6, { ...base, caller: 'key:greedy' });
    await settle();
    expect(greedy.told).toMatchObject(Array(3).fill({ reason: 'SEND_LIMIT_EXCEEDED' }));
    expect(String(greedy.told[0])).toMatch(/2 messages of this caller/);
    const modest = burst(world, 3, { ...base, caller: 'key:modest' });
    await settle();
    expect(modest.told).toHaveLength(1);
    expect(String(modest.told[0])).toMatch(/4 messages of the app/);
    await world.clock.advance(20 * SECOND);
    expect(world.wechat.accepted).toHaveLength(5);
    // Those that were sent, or left, wait no longer.
    const again = burst(world, 3, { ...base, caller: 'key:greedy' });
    await settle();
    expect(again.told).toEqual([]);
    await world.clock.advance(20 * SECOND);
    expect(world.clock.pending).toBe(0);
  });

  it('hold no more than so many characters in all, of those too that repeat a key or wait for a token', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1 } });
    const long = (key: string, appId = 'wxa') =>
      message('official_account', { appId, idempotencyKey: key, text: 'x'.repeat(MAX_HELD / 4 - 1_000) });
    const fits = message('official_account', { text: 'x' });
    world.api.fault = { kind: 'slow', ms: SECOND };
    const told = {
      first: burst(world, 1, long('a')),
      again: burst(world, 2, long('a')),
      other: burst(world, 1, long('b', 'wxb')),
    };
    await settle();
    const refused = burst(world, 1, long('c'));
    await settle();
    expect(refused.told).toMatchObject([{ reason: 'SEND_LIMIT_EXCEEDED', retryAfterMs: SECOND }]);
    const small = burst(world, 1, fits);
    await world.clock.advance(2 * SECOND);
    for (const { told: each } of Object.values(told)) expect(each[0]).toMatchObject({ sent: {} });
    expect(small.told).toMatchObject([{ replayed: false }]);
    world.api.fault = undefined;
    // What has ended is not held, and one that is larger than all may be goes alone.
    const huge = message('official_account', { text: 'x'.repeat(MAX_HELD + 1) });
    expect(await world.tell(huge)).toMatchObject({ replayed: false });
    expect(await world.tell(long('c'))).toMatchObject({ replayed: false });
  });

  it('do not count a replayed message against the rate', async () => {
    const world = new MessageWorld({ settings: { ratePerSecond: 1 } });
    const keyed = { ...base, idempotencyKey: 'k' };
    await world.send(keyed);
    await world.clock.advance(SECOND);
    for (let i = 0; i < 5; i++) expect(await world.tell(keyed)).toMatchObject({ replayed: true });
    expect(await world.tell(base)).toMatchObject({ replayed: false });
  });

  it('free the place of a caller that leaves', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1, maxWaiting: 1 } });
    world.api.fault = slow;
    burst(world, 1);
    await settle();
    const caller = new AbortController();
    const left = world.tell(base, caller.signal).catch((error: unknown) => error);
    await settle();
    caller.abort(new Error('left'));
    expect(await left).toMatchObject({ message: 'left' });
    const { told } = burst(world, 1);
    await world.clock.advance(3 * SECOND);
    expect(told).toMatchObject([{ replayed: false }]);
    expect(world.api.attempts).toHaveLength(2);
  });

  it('of one app are not those of another', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1, maxWaiting: 1, ratePerSecond: 1 } });
    world.api.fault = { kind: 'hang', arrives: 'never' };
    burst(world, 5);
    await settle();
    world.api.fault = undefined;
    expect(await world.tell({ ...base, appId: 'wxb' })).toMatchObject({ replayed: false });
  });
});

describe('the daily quota', () => {
  it('is kept to the message, and told until when', async () => {
    const world = new MessageWorld({ settings: { dailyQuota: 3 } });
    const { told } = burst(world, 5);
    await world.clock.advance(SECOND);
    expect(world.wechat.accepted).toHaveLength(3);
    const refused = told.filter((one) => 'reason' in one);
    expect(refused).toMatchObject(Array(2).fill({ reason: 'SEND_QUOTA_EXHAUSTED' }));
    expect(await world.send(base)).toMatchObject({ retryAfterMs: 12 * HOUR - SECOND });
    await world.clock.advance(12 * HOUR);
    expect(await world.send(base)).toMatchObject({ replayed: false });
  });

  it('gets back what was not sent', async () => {
    const world = new MessageWorld({ settings: { dailyQuota: 1 } });
    world.api.faults.push({ kind: 'unsent' });
    expect(await world.send(base)).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    expect(await world.send(base)).toMatchObject({ replayed: false });
    expect(await world.send(base)).toMatchObject({ reason: 'SEND_QUOTA_EXHAUSTED' });
  });
});

describe('the circuit breaker of a quota', () => {
  it('opens at 45009 for a quarter of an hour, for all who wait too, and then one message probes', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1 } });
    world.api.faults.push(slow, errcode(45009));
    const { told } = burst(world, 10);
    await world.clock.advance(SECOND);
    expect(told[0]).toMatchObject({ replayed: false });
    expect(told.slice(1)).toMatchObject(Array(9).fill({ reason: 'DAILY_QUOTA_EXHAUSTED', answer: { errcode: 45009 } }));
    expect(world.api.attempts).toHaveLength(2);
    expect(world.seen('breaker_opened')).toMatchObject([{ reason: 'DAILY_QUOTA_EXHAUSTED' }]);
    await world.clock.advance(15 * MINUTE - 1);
    const refused = await world.tell(base);
    expect(refused).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED', retryAfterMs: 1 });
    expect((refused as Error).message).toMatch(/within 15 minutes.*clear_quota.*"lingpai refresh wxa"/);
    expect(world.api.attempts).toHaveLength(2);
    // Still spent: it is open for as long again.
    world.api.faults.push(errcode(45009));
    await world.clock.advance(1);
    expect(await world.tell(base)).toMatchObject({ retryAfterMs: 15 * MINUTE });
    expect(await world.tell(base)).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect(world.api.attempts).toHaveLength(3);
    // Cleared: the message that tries opens it for all.
    await world.clock.advance(15 * MINUTE);
    expect(await world.tell(base)).toMatchObject({ replayed: false });
    expect(world.seen('breaker_closed')).toHaveLength(1);
    expect(world.sender.shutChannels('wxa')).toEqual([]);
  });

  it('closes when the quota resets, if that is sooner', async () => {
    const world = new MessageWorld();
    await world.clock.advance(12 * HOUR - 5 * MINUTE);
    world.api.faults.push(errcode(45009));
    expect(await world.tell(base)).toMatchObject({ retryAfterMs: 6 * MINUTE });
    await world.clock.advance(6 * MINUTE);
    const { told } = burst(world, 5);
    await settle();
    expect(told).toMatchObject(Array(5).fill({ replayed: false }));
  });

  it('is tried at once when an operator says so, and is told of meanwhile', async () => {
    const world = new MessageWorld();
    await world.give('consent', 'c1');
    const other = { ...base, appId: 'wxb' };
    world.api.faults.push(errcode(45009), errcode(45009), errcode(48001));
    for (const one of [base, other, message('subscribe')]) await world.tell(one);
    const until = world.clock.now() + 15 * MINUTE;
    const quota = { channel: 'official_account', until, reason: 'DAILY_QUOTA_EXHAUSTED', errcode: 45009 };
    const closed = { channel: 'subscribe', until: world.clock.now() + 5 * MINUTE, errcode: 48001 };
    expect(world.sender.shutChannels('wxa')).toMatchObject([quota, { ...closed, reason: 'INTERFACE_NOT_GRANTED' }]);
    expect(world.sender.shutChannels('wxc')).toEqual([]);

    world.sender.tryAgain('wxa');
    expect(world.sender.shutChannels('wxa')).toEqual([]);
    expect(world.seen('breaker_to_probe')).toHaveLength(2);
    world.api.faults.push(slow);
    const { told } = burst(world, 2);
    await settle();
    expect(told).toMatchObject([{ reason: 'DAILY_QUOTA_EXHAUSTED', retryAfterMs: SECOND }]);
    expect(world.sender.shutChannels('wxa')).toMatchObject([{ ...quota, until: null }]);
    await world.clock.advance(SECOND);
    expect(told[1]).toMatchObject({ replayed: false });
    expect(world.sender.shutChannels('wxa')).toEqual([]);
    expect(world.sender.shutChannels('wxb')).toMatchObject([quota]);

    // Whoever asks again and again opens nothing more often than every 10 s.
    world.api.faults.push(errcode(45009));
    expect(await world.tell(base)).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    world.sender.tryAgain('wxa');
    expect(world.seen('breaker_to_probe')).toHaveLength(2);
    await world.clock.advance(10 * SECOND);
    world.sender.tryAgain('wxa');
    expect(world.seen('breaker_to_probe')).toHaveLength(3);

    world.sender.tryAgain();
    expect(await world.tell(other)).toMatchObject({ replayed: false });
    // What is open is no news.
    world.sender.tryAgain();
    expect(world.seen('breaker_to_probe')).toHaveLength(4);
  });

  it('does not let those wait in vain who wait behind others', async () => {
    const world = new MessageWorld({ settings: { ratePerSecond: 0.1 } });
    world.api.faults.push({ kind: 'slow', ms: SECOND }, errcode(45009));
    burst(world, 1, message('subscribe'));
    const first = burst(world, 1);
    await world.clock.advance(10 * SECOND - 1);
    burst(world, 1, message('subscribe'));
    const last = burst(world, 1);
    await world.clock.advance(1);
    expect([...first.told, ...last.told]).toMatchObject(Array(2).fill({ reason: 'DAILY_QUOTA_EXHAUSTED' }));
  });

  it('shuts one channel and no other', async () => {
    const world = new MessageWorld();
    world.api.faults.push(errcode(45009));
    const notice = message('subscription_notice');
    expect(await world.tell(notice)).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect(world.sender.shutChannels('wxa')).toMatchObject([{ channel: 'subscription_notice', errcode: 45009 }]);
    expect(await world.tell(base)).toMatchObject({ replayed: false });
    expect(await world.tell(notice)).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect(world.api.attempts).toHaveLength(2);
  });

  it('opens at 45011 until the next minute', async () => {
    const world = new MessageWorld();
    await world.clock.advance(20 * SECOND);
    world.api.faults.push(errcode(45011));
    expect(await world.tell(base)).toMatchObject({ reason: 'MINUTE_QUOTA_EXHAUSTED', retryAfterMs: 42 * SECOND });
    await world.clock.advance(42 * SECOND - 1);
    expect(await world.tell(base)).toMatchObject({ reason: 'MINUTE_QUOTA_EXHAUSTED', retryAfterMs: 1 });
    await world.clock.advance(1);
    expect(await world.tell(base)).toMatchObject({ replayed: false });
    expect(world.api.attempts).toHaveLength(2);
  });

  it('is one app’s and one channel’s', async () => {
    const world = new MessageWorld();
    await world.give('consent', 'c1');
    world.api.faults.push(errcode(45009));
    await world.tell(base);
    expect(await world.tell({ ...base, appId: 'wxb' })).toMatchObject({ replayed: false });
    expect(await world.tell(message('subscribe'))).toMatchObject({ replayed: false });
  });
});

describe.each([
  [50002, 'ACCOUNT_CLOSED'],
  [48001, 'INTERFACE_NOT_GRANTED'],
] as const)('the breaker, at %i', (code, reason) => {
  async function broken(): Promise<MessageWorld> {
    const world = new MessageWorld();
    world.api.faults.push(errcode(code));
    expect(await world.tell(base)).toMatchObject({ reason, retryAfterMs: 5 * MINUTE });
    return world;
  }

  it('opens for 5 minutes and says why', async () => {
    const world = await broken();
    await world.clock.advance(5 * MINUTE - 1);
    const { told } = burst(world, 100);
    await settle();
    expect(told).toMatchObject(Array(100).fill({ reason, retryAfterMs: 1, answer: { errcode: code } }));
    expect(world.api.attempts).toHaveLength(1);
  });

  it('then lets one message through, and all when it is taken', async () => {
    const world = await broken();
    await world.clock.advance(5 * MINUTE);
    world.api.faults.push(slow);
    const { told } = burst(world, 10);
    await settle();
    expect(told).toMatchObject(Array(9).fill({ reason, retryAfterMs: SECOND }));
    await world.clock.advance(SECOND);
    expect(told[9]).toMatchObject({ replayed: false });
    expect(world.seen('breaker_closed')).toHaveLength(1);
    const after = burst(world, 10);
    await settle();
    expect(after.told).toMatchObject(Array(10).fill({ replayed: false }));
  });

  it('then stays open when the one is refused the same way, closes when it is judged, and asks again otherwise', async () => {
    for (const [fault, reasons] of [
      [errcode(code), [reason, reason]],
      [errcode(47003), ['DATA_INVALID', undefined]],
      [{ kind: 'unsent' }, ['UPSTREAM_UNREACHABLE', undefined]],
    ] as const) {
      const world = await broken();
      await world.clock.advance(5 * MINUTE);
      world.api.faults.push(fault);
      const told = [await world.tell(base), await world.tell(base)];
      expect(told.map((one) => ('reason' in one ? one.reason : undefined))).toEqual(reasons);
    }
  });

  it('does not stay half open after a message that never left', async () => {
    const world = await broken();
    await world.clock.advance(5 * MINUTE);
    world.ledger.failure = () => new Error('disk full');
    expect(await world.tell(base)).toMatchObject({ reason: 'LEDGER_UNAVAILABLE' });
    world.ledger.failure = () => undefined;
    expect(await world.tell(base)).toMatchObject({ replayed: false });
  });

  it('is one app’s and one channel’s', async () => {
    const world = await broken();
    await world.give('consent', 'c1');
    expect(await world.tell({ ...base, appId: 'wxb' })).toMatchObject({ replayed: false });
    expect(await world.tell(message('subscribe'))).toMatchObject({ replayed: false });
  });
});
