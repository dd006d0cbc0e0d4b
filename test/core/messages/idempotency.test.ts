import { describe, expect, it } from 'vitest';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { ledgerKey } from '../../../src/core/messages/message.ts';
import { settle } from '../../support/clock.ts';
import { type AttemptFault, MessageWorld, message } from '../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

const lost: AttemptFault = { kind: 'lost', arrives: 'never' };
const lostAnswer: AttemptFault = { kind: 'lost', arrives: 0 };
const errcode = (code: number): AttemptFault => ({ kind: 'errcode', errcode: code });

const keyed = message('official_account', { idempotencyKey: 'k' });
const subscribed = message('subscribe', { idempotencyKey: 'k' });
const formed = message('mini_program', { idempotencyKey: 'k' });

describe('a key', () => {
  it('gets the first outcome again, without a call, for 24 hours and across restarts', async () => {
    const world = new MessageWorld();
    const first = await world.send(keyed);
    expect(first).toMatchObject({ replayed: false });
    expect(await world.send(keyed)).toEqual({ ...first, replayed: true });
    await world.restart();
    await world.clock.advance(24 * HOUR - SECOND);
    expect(await world.send(keyed)).toEqual({ ...first, replayed: true });
    expect(world.api.attempts).toHaveLength(1);
    expect(world.seen('message_replayed')).toHaveLength(2);
    await world.clock.advance(SECOND);
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
    expect(world.api.attempts).toHaveLength(2);
  });

  it('gets a lasting refusal again, word for word', async () => {
    const world = new MessageWorld();
    world.api.faults.push(errcode(40003));
    const first = await world.send(keyed);
    const again = await world.send(keyed);
    expect(first).toMatchObject({ reason: 'OPENID_INVALID', violations: [{ field: 'to_user' }] });
    expect(again).toEqual(first);
    expect(again).toMatchObject({ answer: { errcode: 40003, rid: 'rid-1' }, violations: [{ field: 'to_user' }] });
    expect(world.api.attempts).toHaveLength(1);
  });

  it.each([-1, 40001, 43117, 45011, 48001, 61004])('is free after a passing refusal: %i', async (code) => {
    const world = new MessageWorld();
    world.api.fault = errcode(code);
    expect(await world.send(keyed)).toBeInstanceOf(LingpaiError);
    world.api.fault = undefined;
    await world.clock.advance(10 * MINUTE);
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
  });

  it('belongs to one app', async () => {
    const world = new MessageWorld();
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
    expect(await world.send({ ...keyed, appId: 'wxb' })).toMatchObject({ replayed: false });
    expect(world.wechat.accepted).toHaveLength(2);
  });

  it('belongs to one caller: another has its own, also after a restart', async () => {
    const world = new MessageWorld();
    const by = (caller?: string, more = {}) => world.send({ ...keyed, ...(caller && { caller }), ...more });
    const other = message('official_account', { idempotencyKey: 'k', text: 'other' });
    for (const caller of [undefined, 'key:a', 'key:b']) expect(await by(caller)).toMatchObject({ replayed: false });
    expect(await by('key:c', other)).toMatchObject({ replayed: false });
    await world.restart();
    for (const caller of [undefined, 'key:a', 'key:b']) expect(await by(caller)).toMatchObject({ replayed: true });
    expect(await by('key:c')).toMatchObject({ reason: 'IDEMPOTENCY_KEY_REUSED' });
    expect(world.wechat.accepted).toHaveLength(4);
  });

  it('of two callers is two also while both are under way', async () => {
    const world = new MessageWorld();
    world.api.fault = { kind: 'slow', ms: SECOND };
    const all = ['key:a', 'key:b', 'key:a'].map((caller) => world.tell({ ...keyed, caller }));
    await world.clock.advance(5 * SECOND);
    expect(await Promise.all(all)).toMatchObject([{ replayed: false }, { replayed: false }, { replayed: true }]);
    expect(world.wechat.accepted).toHaveLength(2);
  });

  it.each([
    [undefined, 'k', 'k'],
    ['key:a', 'k', '["key:a","k"]'],
    ['key:a', '', ''],
    ['jwt:x/","', 'k', '["jwt:x/\\",\\"","k"]'],
  ])('of %s is in the ledger what no other caller can make it: %j', (caller, idempotencyKey, expected) => {
    expect(ledgerKey({ caller, idempotencyKey })).toBe(expected);
  });

  it('of a message with other content is refused, before and after the first is sent', async () => {
    const world = new MessageWorld();
    world.api.faults.push({ kind: 'slow', ms: SECOND });
    const first = world.tell(keyed);
    const other = { ...keyed, toUser: 'openid-2' };
    const refusal = { reason: 'IDEMPOTENCY_KEY_REUSED', violations: [{ field: 'idempotency_key' }] };
    expect(await world.tell(other)).toMatchObject(refusal);
    await world.clock.advance(SECOND);
    await first;
    expect(await world.send(other)).toMatchObject(refusal);
    expect(world.wechat.accepted).toHaveLength(1);
  });

  it('is shared by concurrent calls: one is sent, the others are told of it', async () => {
    const world = new MessageWorld();
    world.api.faults.push({ kind: 'slow', ms: SECOND });
    const all = Array.from({ length: 20 }, () => world.tell(keyed));
    await world.clock.advance(2 * SECOND);
    const told = await Promise.all(all);
    expect(told.filter((one) => 'replayed' in one && !one.replayed)).toHaveLength(1);
    expect(told.filter((one) => 'replayed' in one && one.replayed)).toHaveLength(19);
    expect(world.api.attempts).toHaveLength(1);
    expect(world.ledger.journal).toHaveLength(1);
  });

  it('is shared by concurrent calls that fail together, and free for the next', async () => {
    const world = new MessageWorld();
    world.api.faults.push({ kind: 'unsent' });
    const told = await Promise.all([world.tell(keyed), world.tell(keyed)]);
    expect(told[0]).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE' });
    expect(told[1]).toBe(told[0]);
    expect(world.api.attempts).toHaveLength(1);
    expect(await world.send(keyed)).toMatchObject({ replayed: false });
  });
});

describe('a key whose message is of unknown fate', () => {
  it('finds out by client_msg_id within 10 minutes', async () => {
    const world = new MessageWorld();
    world.api.faults.push(lostAnswer, lost, lost);
    expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: 5 * SECOND });
    await world.clock.advance(8 * MINUTE);
    expect(await world.send(keyed)).toMatchObject({ sent: { messageId: '9007199254740993' }, replayed: false });
    expect(new Set(world.api.attempts.map(({ clientMsgId }) => clientMsgId)).size).toBe(1);
    expect(world.wechat.accepted).toHaveLength(1);
    expect(await world.send(keyed)).toMatchObject({ replayed: true });
  });

  it('is left unknown after that, also when the clock was set back', async () => {
    for (const jump of [0, -HOUR]) {
      const world = new MessageWorld();
      world.api.faults.push(lostAnswer, lost, lost);
      await world.send(keyed);
      await world.clock.advance(11 * MINUTE);
      world.clock.jump(jump);
      expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: undefined });
      expect(world.api.attempts).toHaveLength(3);
      await world.restart();
      expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
      expect(world.api.attempts).toHaveLength(3);
    }
  });

  it('finds out by the form_id, which is held for it, at any time', async () => {
    for (const [arrives, messageId] of [
      [0, ''],
      ['never', '9007199254740993'],
    ] as const) {
      const world = new MessageWorld();
      await world.give('form_id', 'f1');
      world.api.faults.push({ kind: 'lost', arrives }, lost, lost);
      expect(await world.send(formed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: 5 * SECOND });
      expect(await world.usable()).toBe(0);
      expect(await world.send(message('mini_program'))).toMatchObject({ reason: 'PERMIT_MISSING' });
      await world.clock.advance(20 * HOUR);
      expect(await world.send(formed)).toMatchObject({ sent: { messageId }, replayed: false });
      expect(world.wechat.accepted).toHaveLength(1);
      expect(await world.send(formed)).toMatchObject({ sent: { messageId }, replayed: true });
    }
  });

  it('gives the form_id back when nobody asks within 24 hours', async () => {
    const world = new MessageWorld();
    await world.give('form_id', 'f1');
    world.api.faults.push(lost, lost, lost);
    await world.send(formed);
    await world.clock.advance(24 * HOUR);
    await world.ledger.purge(world.clock.now());
    expect(await world.send(message('mini_program'))).toMatchObject({ replayed: false });
  });

  it('stays unknown for a subscription message, and its consent is usable', async () => {
    const world = new MessageWorld();
    await world.give('consent', 'c1');
    world.api.faults.push(lost);
    for (const words of [/^The request was written/, /^The request of an earlier call/]) {
      const told = await world.send(subscribed);
      expect(told).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: undefined });
      expect(told).toHaveProperty('message', expect.stringMatching(words));
      expect(await world.usable()).toBe(1);
      await world.restart();
    }
    expect(world.api.attempts).toHaveLength(1);
    expect(world.seen('message_replayed')).toMatchObject([{ outcome: 'unknown' }]);
  });

  it('says nothing but that while the message cannot be sent', async () => {
    const world = new MessageWorld();
    world.api.faults.push(lostAnswer, lost, lost);
    await world.send(keyed);
    world.api.faults.push(errcode(45009));
    await world.send(message('official_account'));
    expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: expect.any(Number) });
    expect(world.wechat.accepted).toHaveLength(1);
  });
});

describe('what is known of a key is told', () => {
  it.each([
    [
      'the circuit breaker is open',
      async (world: MessageWorld) => {
        world.api.faults.push(errcode(45009));
        await world.send(message('official_account'));
      },
    ],
    [
      'the breaker is open',
      async (world: MessageWorld) => {
        world.api.faults.push(errcode(50002));
        await world.send(message('official_account'));
      },
    ],
    [
      'there is no token',
      async (world: MessageWorld) => {
        world.tokens.failure = new LingpaiError('no token', { reason: 'UPSTREAM_TIMEOUT' });
      },
    ],
    [
      'no more may wait',
      async (world: MessageWorld) => {
        world.api.fault = { kind: 'slow', ms: 4 * SECOND };
        for (let i = 0; i < 2; i++) void world.tell(message('official_account'));
        await settle();
      },
    ],
    [
      'the quota is spent',
      async (world: MessageWorld) => {
        await world.send(message('official_account'));
      },
    ],
  ])('also when %s', async (_, trouble) => {
    const world = new MessageWorld({ settings: { concurrency: 1, maxWaiting: 1, dailyQuota: 2 } });
    const first = await world.send(keyed);
    await trouble(world);
    const attempts = world.api.attempts.length;
    expect(await world.send(keyed)).toEqual({ ...first, replayed: true });
    expect(await world.send({ ...keyed, toUser: 'openid-2' })).toMatchObject({ reason: 'IDEMPOTENCY_KEY_REUSED' });
    const fresh = await world.tell({ ...keyed, idempotencyKey: 'other' });
    expect(fresh).toBeInstanceOf(LingpaiError);
    expect(fresh).not.toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.api.attempts).toHaveLength(attempts);
  });

  it('and nothing is claimed when the ledger cannot be read', async () => {
    const world = new MessageWorld();
    await world.send(keyed);
    world.tokens.failure = new LingpaiError('no token', { reason: 'UPSTREAM_TIMEOUT' });
    world.ledger.failure = () => new Error('disk full');
    expect(await world.send(keyed)).toMatchObject({ reason: 'LEDGER_UNAVAILABLE' });
    expect(await world.send(message('official_account'))).toBe(world.tokens.failure);
  });
});
