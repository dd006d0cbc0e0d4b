import { describe, expect, it } from 'vitest';
import { settle } from '../../support/clock.ts';
import type { LedgerCall } from '../../support/ledger.ts';
import { type AttemptFault, FakeTokens, MessageWorld, message } from '../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const CHANNELS = ['mini_program', 'subscribe', 'official_account', 'subscription_notice'] as const;
const errcode = (code: number): AttemptFault => ({ kind: 'errcode', errcode: code });
const base = message('official_account');
const keyed = { ...base, idempotencyKey: 'k' };

async function supplied(): Promise<MessageWorld> {
  const world = new MessageWorld();
  await world.give('form_id', 'f1');
  await world.give('consent', 'c1');
  return world;
}

/** The process dies as this call is about to take effect, or when it has and nobody knows. */
function dieAt(world: MessageWorld, call: LedgerCall, when: 'before' | 'after'): void {
  if (when === 'after') {
    world.ledger.onDone = (one) => one === call && world.kill();
    return;
  }
  world.ledger.failure = (one) => {
    if (one !== call) return undefined;
    world.kill();
    return new Error('dead');
  };
}

/** A new process takes over, and everything works. */
async function takeOver(world: MessageWorld): Promise<void> {
  world.ledger.failure = () => undefined;
  world.ledger.onDone = () => undefined;
  world.api.fault = undefined;
  await world.restart();
}

describe.each(CHANNELS)('kill -9 while a message is sent by %s', (channel) => {
  const one = message(channel, { idempotencyKey: 'k' });
  const unrepeatable = channel === 'subscribe' || channel === 'subscription_notice';
  const lasts = unrepeatable ? 'DELIVERY_UNKNOWN' : undefined;

  it('before it is recorded: it can be sent', async () => {
    const world = await supplied();
    dieAt(world, 'begin', 'before');
    void world.tell(one);
    await world.clock.advance(SECOND);
    await takeOver(world);
    expect(world.api.attempts).toHaveLength(0);
    expect(await world.send(one)).toMatchObject({ replayed: false });
    expect(world.wechat.accepted).toHaveLength(1);
  });

  it.each(['begin', 'written', 'answered', 'settled'] as const)('after: %s', async (moment) => {
    const world = await supplied();
    if (moment === 'begin') dieAt(world, 'begin', 'after');
    if (moment === 'written') world.api.fault = { kind: 'hang', arrives: 0 };
    if (moment === 'answered') dieAt(world, 'settle', 'before');
    if (moment === 'settled') dieAt(world, 'settle', 'after');
    void world.tell(one);
    await world.clock.advance(SECOND);
    await takeOver(world);
    const told = await world.send(one);
    expect(world.wechat.accepted).toHaveLength(moment === 'begin' && unrepeatable ? 0 : 1);
    if (moment === 'settled') expect(told).toMatchObject({ replayed: true });
    else expect('reason' in told ? told.reason : undefined).toBe(lasts);
    const again = await world.send(one);
    if (lasts && moment !== 'settled') expect(again).toMatchObject({ reason: lasts });
    else expect(again).toMatchObject({ replayed: true });
    expect(world.wechat.accepted.length).toBeLessThanOrEqual(1);
  });

  it('without a key: nothing is kept, and the permit is not lost', async () => {
    const world = await supplied();
    const before = await world.usable();
    dieAt(world, 'begin', 'after');
    void world.tell(message(channel));
    await world.clock.advance(SECOND);
    await takeOver(world);
    expect(await world.usable()).toBe(before);
    expect(world.ledger.sends.size).toBe(0);
    expect(await world.send(message(channel))).toMatchObject({ replayed: false });
  });
});

it('after kill -9 the permit of a message that can never be known is given back to the first who asks', async () => {
  const world = await supplied();
  const one = message('subscribe', { idempotencyKey: 'k' });
  dieAt(world, 'begin', 'after');
  void world.tell(one);
  await world.clock.advance(SECOND);
  await takeOver(world);
  expect(await world.usable()).toBe(1);
  expect(await world.send(one)).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
  expect(await world.usable()).toBe(2);
});

describe('kill -9 around a redraw', () => {
  it.each(['before', 'after'] as const)(
    '%s: the bad permit is void in the end, and the good one is used',
    async (when) => {
      const world = new MessageWorld();
      await world.give('form_id', 'bad');
      await world.clock.advance(1);
      await world.give('form_id', 'good');
      world.api.faults.push(errcode(41029));
      dieAt(world, 'redraw', when);
      void world.tell(message('mini_program', { idempotencyKey: 'k' }));
      await world.clock.advance(SECOND);
      await takeOver(world);
      expect(world.wechat.accepted).toHaveLength(0);
      expect(await world.send(message('mini_program', { idempotencyKey: 'k' }))).toMatchObject({ replayed: false });
      expect(world.wechat.accepted).toHaveLength(1);
    },
  );
});

describe('a ledger that fails', () => {
  it('before the call: nothing is sent', async () => {
    const world = new MessageWorld();
    world.ledger.failure = () => new Error('disk full');
    expect(await world.send(keyed)).toMatchObject({ reason: 'LEDGER_UNAVAILABLE', retryAfterMs: SECOND });
    expect(world.api.attempts).toHaveLength(0);
    expect(world.seen('ledger_failed')).toMatchObject([{ operation: 'begin', retryInMs: null }]);
    world.ledger.failure = () => undefined;
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
  });

  it('when a permit is redrawn: nothing is sent, and the permit is void', async () => {
    const world = await supplied();
    await world.give('form_id', 'f2');
    world.api.faults.push(errcode(41029));
    world.ledger.failure = (call) => (call === 'redraw' ? new Error('disk full') : undefined);
    expect(await world.send(message('mini_program'))).toMatchObject({ reason: 'LEDGER_UNAVAILABLE' });
    expect(world.ledger.permits.find(({ value }) => value === 'f1')).toMatchObject({ uses: 0, reserved: 0 });
    expect(world.wechat.accepted).toHaveLength(0);
  });

  it('after the call: the caller is told the truth once, and the record is repeated until it is there', async () => {
    const world = new MessageWorld();
    world.ledger.failure = (call) => (call === 'settle' ? new Error('disk full') : undefined);
    const first = await world.send(keyed);
    expect(first).toMatchObject({ replayed: false });
    expect(await world.tell(keyed)).toEqual({ ...first, replayed: true });
    expect(await world.tell({ ...keyed, toUser: 'openid-2' })).toMatchObject({ reason: 'IDEMPOTENCY_KEY_REUSED' });
    await world.clock.advance(MINUTE);
    expect(world.seen('ledger_failed').length).toBeGreaterThan(3);
    expect([...world.ledger.sends.values()]).toMatchObject([{ outcome: { kind: 'begun' } }]);
    world.ledger.failure = () => undefined;
    await world.clock.advance(20 * SECOND);
    expect([...world.ledger.sends.values()]).toMatchObject([{ outcome: { kind: 'sent' } }]);
    expect(world.seen('ledger_recovered')).toHaveLength(1);
    expect(world.clock.pending).toBe(0);
    expect(await world.send(keyed)).toEqual({ ...first, replayed: true });
    expect(world.api.attempts).toHaveLength(1);
  });

  it('that is slow is waited for: nobody is told before it is durable', async () => {
    const world = new MessageWorld();
    world.api.fault = { kind: 'slow', ms: SECOND };
    let told = false;
    void world.tell(keyed).then(() => {
      told = true;
    });
    await settle();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.ledger.hold = promise;
    await world.clock.advance(2 * SECOND);
    expect(world.wechat.accepted).toHaveLength(1);
    expect(told).toBe(false);
    resolve();
    await settle();
    expect(told).toBe(true);
  });

  it('for longer than keys are kept does not keep them longer', async () => {
    const world = new MessageWorld();
    world.ledger.failure = (call) => (call === 'settle' ? new Error('disk full') : undefined);
    await world.send(keyed);
    await world.clock.advance(24 * HOUR);
    expect(await world.tell(keyed)).toMatchObject({ replayed: false });
    expect(world.wechat.accepted).toHaveLength(2);
  });

  it('may take effect and fail all the same: repeating does no harm', async () => {
    const world = await supplied();
    await world.give('prepay_id', 'p1');
    let failures = 0;
    world.ledger.onDone = (call) => {
      if (call === 'settle' && failures++ === 0) throw new Error('lost answer');
    };
    await world.send(message('mini_program', { formId: 'p1', idempotencyKey: 'k' }));
    await world.clock.advance(20 * SECOND);
    expect(failures).toBe(2);
    expect(world.ledger.permits.find(({ value }) => value === 'p1')).toMatchObject({ uses: 2, reserved: 0 });
  });

  it('for long is sent no more than it can be told', async () => {
    const world = new MessageWorld({ settings: { concurrency: 5_000 } });
    world.ledger.failure = (call) => (call === 'settle' ? new Error('disk full') : undefined);
    for (let i = 0; i < 3_000; i++) {
      void world.tell(base);
      if (i % 100 === 0) await settle();
    }
    await settle();
    expect(world.api.attempts.length).toBeGreaterThan(1_000);
    expect(world.api.attempts.length).toBeLessThan(1_200);
    expect(await world.tell(base)).toMatchObject({ reason: 'LEDGER_UNAVAILABLE' });
  });
});

describe('a caller that leaves', () => {
  const left = new Error('left');
  const telling = (world: MessageWorld, one = base) => {
    const caller = new AbortController();
    const told = world.tell(one, caller.signal).catch((error: unknown) => error);
    return { caller, told };
  };

  /** A world in which a message is on its way and the next ones wait. */
  const busy = async () => {
    const world = new MessageWorld({ settings: { concurrency: 1 } });
    world.api.fault = { kind: 'slow', ms: SECOND };
    void world.tell(base);
    await settle();
    return world;
  };

  it('before it calls is told so, and nothing happens', async () => {
    const world = new MessageWorld();
    await expect(world.sender.send(base, AbortSignal.abort(left))).rejects.toBe(left);
    expect(world.ledger.journal).toHaveLength(0);
  });

  it('before its message is begun: it is not sent', async () => {
    const world = await busy();
    const { caller, told } = telling(world, keyed);
    await settle();
    caller.abort(left);
    expect(await told).toBe(left);
    await world.clock.advance(5 * SECOND);
    expect(world.api.attempts).toHaveLength(1);
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
  });

  it('at the last moment before that: it is not sent', async () => {
    const token = Promise.withResolvers<void>();
    let gets = 0;
    const tokens = new FakeTokens();
    const world = new MessageWorld({
      tokens: {
        get: async (appId) => {
          if (++gets > 1) await token.promise;
          return await tokens.get(appId);
        },
        forceRefresh: (appId, rejected) => tokens.forceRefresh(appId, rejected),
      },
    });
    const { caller, told } = telling(world);
    await settle();
    caller.abort(left);
    expect(await told).toBe(left);
    token.resolve();
    await settle();
    expect(gets).toBe(2);
    expect(world.ledger.journal).toHaveLength(0);
  });

  it('does not take those along who come after', async () => {
    const world = await busy();
    const { caller, told } = telling(world, keyed);
    await settle();
    caller.abort(left);
    await told;
    const next = world.tell(keyed);
    await world.clock.advance(5 * SECOND);
    expect(await next).toMatchObject({ replayed: false });
  });

  it('after that: it is sent and recorded', async () => {
    const world = new MessageWorld();
    world.api.fault = { kind: 'slow', ms: SECOND };
    const { caller, told } = telling(world, keyed);
    await settle();
    caller.abort(left);
    expect(await told).toBe(left);
    await world.clock.advance(2 * SECOND);
    expect(await world.tell(keyed)).toMatchObject({ replayed: true });
    expect(world.api.attempts).toHaveLength(1);
  });

  it('does not take the message from others who wait for it', async () => {
    const world = await busy();
    const one = telling(world, keyed);
    const other = telling(world, keyed);
    await settle();
    one.caller.abort(left);
    expect(await one.told).toBe(left);
    await world.clock.advance(5 * SECOND);
    expect(await other.told).toMatchObject({ sent: {} });
    expect(world.api.attempts).toHaveLength(2);
  });
});

describe('a drain', () => {
  it('begins nothing more, and waits for what is under way and its record', async () => {
    const world = new MessageWorld({ settings: { concurrency: 1 } });
    world.api.fault = { kind: 'slow', ms: SECOND };
    const underWay = world.tell(keyed);
    await settle();
    const waiting = world.tell(base);
    await settle();
    let drained = false;
    void world.sender.drain().then(() => {
      drained = true;
    });
    expect(await waiting).toMatchObject({ reason: 'DRAINING' });
    expect(await world.tell(base)).toMatchObject({ reason: 'DRAINING' });
    await world.clock.advance(999);
    expect([drained, world.sender.busy]).toEqual([false, true]);
    await world.clock.advance(1);
    expect([drained, world.sender.busy]).toEqual([true, false]);
    expect(await underWay).toMatchObject({ replayed: false });
    expect([...world.ledger.sends.values()]).toMatchObject([{ outcome: { kind: 'sent' } }]);
    expect(world.api.attempts).toHaveLength(1);
    expect(world.clock.pending).toBe(0);
  });

  it('tries a record that failed once more, and leaves it to the next process', async () => {
    for (const heals of [true, false]) {
      const world = new MessageWorld();
      world.ledger.failure = (call) => (call === 'settle' ? new Error('disk full') : undefined);
      await world.send(keyed);
      if (heals) world.ledger.failure = () => undefined;
      let drained = false;
      void world.sender.drain().then(() => {
        drained = true;
      });
      await settle();
      expect(drained).toBe(true);
      expect(world.clock.pending).toBe(0);
      const kind = heals ? 'sent' : 'begun';
      expect([...world.ledger.sends.values()]).toMatchObject([{ outcome: { kind } }]);
      world.ledger.failure = () => undefined;
      await world.restart();
      expect(await world.send(keyed)).toMatchObject({ sent: { messageId: '9007199254740993' } });
      expect(world.wechat.accepted).toHaveLength(1);
    }
  });

  it('of nothing ends at once', async () => {
    await new MessageWorld().sender.drain();
  });
});
