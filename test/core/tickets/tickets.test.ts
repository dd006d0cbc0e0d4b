import { describe, expect, it } from 'vitest';
import { settle } from '../../support/clock.ts';
import { TicketWorld } from '../../support/ticket-world.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const TICKET = ['ticket'] as const;

describe('a ticket', () => {
  it('P6: N first callers make one call, and nobody asks for it before', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    expect(world.calls).toBe(0);
    const signal = () => new AbortController().signal;
    const all = Array.from({ length: 100 }, async () => await one.tickets.get('wxs', 'jsapi', { signal }));
    const got = new Set((await Promise.all(all)).map(({ value }) => value));
    expect(got.size).toBe(1);
    expect(world.calls).toBe(1);
    expect(world.good(one)).toBe(true);
  });

  it('is one for each type', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const [jsapi, card] = [await world.get(one), await world.get(one, 'wx_card')];
    expect(jsapi.value).not.toBe(card.value);
    expect([world.good(one), world.good(one, 'wx_card'), world.calls]).toEqual([true, true, 2]);
  });

  it('is answered from memory, at once and without a signal', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const ticket = await world.get(one);
    const signal = () => expect.fail('there is nothing to wait for');
    expect(one.tickets.get('wxs', 'jsapi', { signal })).toEqual(ticket);
  });

  it('P5: is replaced at about half its life, and the old one is served until the new one is in hand', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const first = await world.get(one);
    await world.clock.advance(0.44 * 2 * HOUR);
    expect([world.calls, world.peek(one)?.id]).toEqual([1, first.id]);
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 4 * SECOND }, calls: TICKET });
    for (let seen = world.calls; world.calls === seen; ) await world.clock.advance(SECOND);
    expect(world.peek(one)?.id).toBe(first.id);
    await world.clock.advance(4 * SECOND);
    expect(world.peek(one)?.id).not.toBe(first.id);
    expect([world.good(one), world.calls]).toEqual([true, 2]);
    expect(world.clock.monotonic()).toBeLessThan(0.56 * 2 * HOUR);
  });

  it('costs 24 to 27 calls a day', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    await world.get(one);
    const seen = new Set<boolean>();
    for (let i = 0; i < 24 * 60; i++) {
      await world.clock.advance(MINUTE);
      seen.add(world.good(one));
    }
    expect([...seen]).toEqual([true]);
    expect(world.calls).toBeGreaterThanOrEqual(22);
    expect(world.calls).toBeLessThanOrEqual(27);
  });

  it('is not thrown away by a refresh that fails, and never handed out when it is over', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const first = await world.get(one);
    world.wechat.faults.inject({ effect: { kind: 'html', status: 502, takesEffect: false }, calls: TICKET });
    await world.clock.advance(2 * HOUR - 40 * SECOND);
    expect(world.peek(one)?.id).toBe(first.id);
    await world.clock.advance(40 * SECOND);
    expect(world.peek(one)).toBeUndefined();
    const signal = () => new AbortController().signal;
    await expect(one.tickets.get('wxs', 'jsapi', { signal })).rejects.toMatchObject({ reason: 'UPSTREAM_MALFORMED' });
    world.wechat.faults.clear();
    await world.clock.advance(20 * SECOND);
    expect(world.good(one)).toBe(true);
  });

  it('expires by the time that passes, counted from before the request left', async () => {
    const world = new TicketWorld({ ticketLifetimeMs: 20 * SECOND });
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 3 * SECOND }, calls: TICKET });
    const ticket = await world.get(one);
    expect(ticket.expireTime - ticket.issueTime).toBe(20 * SECOND);
    expect(ticket.expireTime - world.clock.now()).toBeLessThanOrEqual(17 * SECOND);
  });

  it('P13: is over after a sleep that was longer than its life, whatever timers say', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const first = await world.get(one);
    world.clock.sleep(3 * HOUR);
    const second = await world.get(one);
    expect(second.id).not.toBe(first.id);
    expect([world.good(one), world.calls]).toEqual([true, 2]);
  });

  it('P13: does not live longer for a clock that is set back, nor does what a restart finds', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const first = await world.get(one);
    world.wechat.faults.inject({ effect: { kind: 'html', status: 502, takesEffect: false }, calls: TICKET });
    await world.clock.advance(HOUR + 30 * MINUTE);
    world.clock.jump(-HOUR);
    one.broker.sweep();
    one.tickets.sweep();
    await settle();
    one.kill();
    const two = await world.add('two');
    expect(world.peek(two)?.id).toBe(first.id);
    await world.clock.advance(30 * MINUTE);
    expect(world.peek(two)).toBeUndefined();
  });

  it('P13: is dated anew by a timer that is the first to notice that the machine has slept', async () => {
    const world = new TicketWorld({ settings: { probeIntervalMs: 0 } });
    const one = await world.add();
    const first = await world.get(one);
    await world.clock.advance(50 * MINUTE);
    world.clock.sleep(50 * MINUTE);
    while (world.calls === 1) await world.clock.advance(SECOND);
    const ticket = world.peek(one);
    expect(ticket?.id).not.toBe(first.id);
    expect((ticket?.expireTime ?? 0) - world.clock.now()).toBeGreaterThan(2 * HOUR - 5 * SECOND);
  });

  it('is asked for after an app is configured again, and not for one that is gone', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    await world.get(one);
    one.broker.configure([]);
    const signal = () => new AbortController().signal;
    expect(() => one.tickets.get('wxs', 'jsapi', { signal })).toThrow(/no app "wxs" is configured/);
    await world.clock.advance(3 * HOUR);
    expect(world.calls).toBe(1);
    one.broker.configure(world.apps);
    await world.clock.advance(10 * SECOND);
    await world.get(one);
    expect([world.calls, world.good(one)]).toEqual([2, true]);
  });
});

describe('a token that getticket refuses', () => {
  it('P6: is reported, and the call repeated once with a newer one', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
    await world.get(one);
    expect(world.good(one)).toBe(true);
    expect(world.calls).toBe(2);
    expect(one.events.filter(({ type }) => type === 'ticket_token_refused')).toHaveLength(1);
    expect(one.events.filter(({ type }) => type === 'force_refresh')).toMatchObject([{ result: 'REFRESHED' }]);
  });

  it('is not asked with again where WeChat accepts it all the same', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 40001 }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'TOKEN_REFUSED' });
    expect(world.calls).toBe(1);
    expect(world.wechat.counts('wxs').mints).toBe(1);
  });

  it('costs no ticket that is in hand', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const ticket = await world.get(one);
    world.wechat.kill('wxs', { issuer: 'stable', which: 'current' });
    expect(world.peek(one)?.id).toBe(ticket.id);
    expect(world.good(one)).toBe(true);
  });
});

describe('trouble', () => {
  it('P7: an endpoint that is down for 3 h is asked at most 240 times an hour, and a ticket is there within 20 s of its return', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'reset', takesEffect: false }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    let most = 0;
    for (let hour = 0; hour < 3; hour++) {
      const before = world.calls;
      await world.clock.advance(HOUR);
      most = Math.max(most, world.calls - before);
    }
    expect(most).toBeLessThanOrEqual(240);
    expect(most).toBeGreaterThan(180);
    world.wechat.faults.clear();
    await world.clock.advance(20 * SECOND);
    expect(world.good(one)).toBe(true);
  });

  it('P7: calls that never reached WeChat spend no budget', async () => {
    const world = new TicketWorld({ settings: { dailyBudget: 50 } });
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'refused' }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    await world.clock.advance(3 * HOUR);
    world.wechat.faults.clear();
    await world.clock.advance(20 * SECOND);
    expect(world.good(one)).toBe(true);
  });

  it('P8: callers that ask without end cause no call beyond those that are planned', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    const signal = () => new AbortController().signal;
    for (let i = 0; i < 600; i++) {
      await world.clock.advance(SECOND / 10);
      const asked = one.tickets.get('wxs', 'jsapi', { signal }) as Promise<unknown>;
      await expect(asked).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    }
    expect(world.calls).toBe(1);
  });

  it('P17: a spent quota is tried again within 15 minutes, and at once when the configuration is read again', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    await world.clock.advance(11 * MINUTE);
    expect(world.calls).toBe(1);
    world.wechat.faults.clear();
    one.tickets.tryAgain();
    await settle();
    expect([world.calls, world.good(one)]).toEqual([2, true]);
  });

  it('P17: a spent quota is tried again within 15 minutes', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    world.wechat.faults.clear();
    await world.clock.advance(15 * MINUTE);
    expect(world.good(one)).toBe(true);
  });

  it('P8: calls stay within the daily budget where WeChat hands out tickets that hardly live', async () => {
    const world = new TicketWorld({ ticketLifetimeMs: 4 * SECOND, settings: { dailyBudget: 100 } });
    const one = await world.add();
    await world.get(one);
    await world.clock.advance(11 * HOUR);
    expect(world.calls).toBeGreaterThan(80);
    expect(world.calls).toBeLessThanOrEqual(100);
    const signal = () => new AbortController().signal;
    expect(world.peek(one)).toBeUndefined();
    await expect(one.tickets.get('wxs', 'jsapi', { signal })).rejects.toMatchObject({ reason: 'BUDGET_EXHAUSTED' });
  });

  it('a ticket that was over when it came is not asked for again at once', async () => {
    const world = new TicketWorld({ ticketLifetimeMs: SECOND });
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 2 * SECOND }, calls: TICKET });
    await expect(world.get(one)).rejects.toMatchObject({ reason: 'UPSTREAM_ERROR' });
    expect(world.calls).toBe(1);
  });

  it('a caller that leaves takes nobody along', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 2 * SECOND }, calls: TICKET });
    const leaving = new AbortController();
    const gone = expect(world.get(one, 'jsapi', leaving.signal)).rejects.toThrow('left');
    const stays = world.get(one);
    await settle();
    leaving.abort(new Error('left'));
    await gone;
    await stays;
    expect(world.calls).toBe(1);
  });
});

describe('a restart', () => {
  it('P10: costs no call where the stored ticket is good', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const ticket = await world.get(one);
    one.kill();
    await world.clock.advance(20 * MINUTE);
    const two = await world.add('two');
    const signal = () => expect.fail('there is nothing to wait for');
    expect(two.tickets.get('wxs', 'jsapi', { signal })).toEqual(ticket);
    await world.clock.advance(30 * SECOND);
    expect(world.calls).toBe(1);
    await world.clock.advance(HOUR);
    expect([world.calls, world.good(two)]).toEqual([2, true]);
  });

  it('P10: kill -9 in the middle of a call loses no ticket that was served', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    const ticket = await world.get(one);
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 4 * SECOND }, calls: TICKET });
    for (let seen = world.calls; world.calls === seen; ) await world.clock.advance(SECOND);
    one.kill();
    const two = await world.add('two');
    expect(world.peek(two)?.id).toBe(ticket.id);
  });

  it('an orderly end waits for a call that WeChat was asked, and stores what it brings', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: 2 * SECOND }, calls: TICKET });
    const got = world.get(one);
    await settle();
    await settle();
    const stopped = one.tickets.stop();
    const ticket = await got;
    await stopped;
    expect(world.store.records.get('wxs/jsapi')?.ticket?.id).toBe(ticket.id);
    await world.clock.advance(3 * HOUR);
    expect(world.calls).toBe(1);
  });

  it('a store that refuses writes withholds nothing, and has the ticket when it is back', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    world.store.failure = new Error('disk full');
    const ticket = await world.get(one);
    expect(world.good(one)).toBe(true);
    expect(one.events.some(({ type }) => type === 'store_failed')).toBe(true);
    world.store.failure = undefined;
    await world.clock.advance(30 * SECOND);
    expect(world.store.records.get('wxs/jsapi')?.ticket?.id).toBe(ticket.id);
    expect(world.calls).toBe(1);
  });

  it('does not ask for what is over and nobody asks for', async () => {
    const world = new TicketWorld();
    const one = await world.add();
    await world.get(one);
    one.kill();
    await world.clock.advance(3 * HOUR);
    await world.add('two');
    await world.clock.advance(HOUR);
    expect(world.calls).toBe(1);
  });
});

describe('replicas', () => {
  it('P6: that are asked at once make one call', async () => {
    const world = new TicketWorld();
    const all = [await world.add('one'), await world.add('two'), await world.add('three')];
    world.wechat.faults.inject({ effect: { kind: 'latency', ms: SECOND }, calls: TICKET });
    const got = await Promise.all(all.map((process) => world.get(process)));
    expect(new Set(got.map(({ id }) => id)).size).toBe(1);
    expect(world.calls).toBe(1);
    expect(world.store.claims.size).toBe(0);
  });

  it('make one call a life, and each serves a good ticket all day', async () => {
    const world = new TicketWorld();
    const all = [await world.add('one'), await world.add('two'), await world.add('three')];
    for (const process of all) await world.get(process);
    for (let i = 0; i < 24 * 12; i++) {
      await world.clock.advance(5 * MINUTE);
      expect(all.map((process) => world.good(process))).toEqual([true, true, true]);
    }
    expect(world.calls).toBeLessThanOrEqual(30);
  });

  it('share a failure: a spent quota is asked about by one of them', async () => {
    const world = new TicketWorld();
    const all = [await world.add('one'), await world.add('two'), await world.add('three')];
    world.wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, calls: TICKET });
    for (const process of all)
      await expect(world.get(process)).rejects.toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
    expect(world.calls).toBe(1);
    await world.clock.advance(HOUR);
    expect(world.calls).toBeLessThanOrEqual(6);
    world.wechat.faults.clear();
    await world.clock.advance(15 * MINUTE);
    expect(all.map((process) => world.good(process))).toEqual([true, true, true]);
  });

  it('one that dies in the middle of a call keeps the others waiting for three time-outs at most', async () => {
    const world = new TicketWorld();
    const [one, two] = [await world.add('one'), await world.add('two')];
    world.wechat.faults.inject({ effect: { kind: 'hang', takesEffect: true }, calls: TICKET, count: 1 });
    void one.tickets.get('wxs', 'jsapi', { signal: () => new AbortController().signal });
    await settle();
    one.kill();
    await world.get(two);
    expect([world.calls, world.good(two)]).toEqual([2, true]);
  });

  it('keep what is in memory while the store is away, and each fetches its own before its end', async () => {
    const world = new TicketWorld();
    const all = [await world.add('one'), await world.add('two')];
    for (const process of all) await world.get(process);
    world.store.failure = new Error('away');
    for (let i = 0; i < 60 * 5; i++) {
      await world.clock.advance(MINUTE);
      expect(all.map((process) => world.good(process))).toEqual([true, true]);
    }
    // About one in each of 110 minutes, since there is no hurry before.
    expect(world.calls).toBeLessThanOrEqual(1 + 2 * 3);
  });

  it('a write that waited for the store does not take the place of a newer ticket', async () => {
    const world = new TicketWorld();
    const [one, two] = [await world.add('one'), await world.add('two')];
    world.store.failure = new Error('away');
    await world.get(one);
    await world.clock.advance(10 * SECOND);
    world.store.failure = undefined;
    const newer = await world.get(two);
    await world.clock.advance(MINUTE);
    expect(world.store.records.get('wxs/jsapi')?.ticket?.id).toBe(newer.id);
  });
});
