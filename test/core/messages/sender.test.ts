import { describe, expect, it } from 'vitest';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import { settle } from '../../support/clock.ts';
import { type AttemptFault, FakeTokens, MessageWorld, message, upstreamError } from '../../support/messages.ts';
import { MINUTE, SECOND, World } from '../../support/world.ts';

const CHANNELS = ['mini_program', 'subscribe', 'official_account', 'subscription_notice'] as const;
/** Those that want a consent, and that WeChat does not deliver once by itself. */
const CONSENTED: ReadonlySet<string> = new Set(['subscribe', 'subscription_notice']);
const lost: AttemptFault = { kind: 'lost', arrives: 'never' };
const lostAnswer: AttemptFault = { kind: 'lost', arrives: 0 };
const errcode = (code: number): AttemptFault => ({ kind: 'errcode', errcode: code });

/** A world in which the user has given one permit of each kind that the channel may want. */
async function supplied(channel: (typeof CHANNELS)[number]): Promise<MessageWorld> {
  const world = new MessageWorld();
  if (channel === 'mini_program') await world.give('form_id', 'f1');
  if (CONSENTED.has(channel)) await world.give('consent', 'c1');
  return world;
}

describe.each(CHANNELS)('a message by %s', (channel) => {
  it('is sent once, and its permit spent', async () => {
    const world = await supplied(channel);
    expect(await world.send(message(channel))).toEqual({
      sent: { messageId: '9007199254740993', rid: '' },
      replayed: false,
    });
    expect(world.wechat.accepted).toHaveLength(1);
    expect(await world.usable()).toBe(0);
    expect(world.ledger.sends.size).toBe(0);
    expect(world.events).toMatchObject([{ type: 'message_sent', appId: 'wxa', channel, arrived: false }]);
  });

  it('that WeChat refuses for good is refused with its words, and its permit kept', async () => {
    const world = await supplied(channel);
    const before = await world.usable();
    world.api.faults.push(errcode(47003));
    expect(await world.send(message(channel))).toMatchObject({
      reason: 'DATA_INVALID',
      appId: 'wxa',
      answer: { errcode: 47003, rid: 'rid-1' },
      retryAfterMs: undefined,
      violations: [{ field: 'data' }],
    });
    expect(world.api.attempts).toHaveLength(1);
    expect(await world.usable()).toBe(before);
    expect(world.seen('message_refused')).toMatchObject([{ reason: 'DATA_INVALID', errcode: 47003, kept: true }]);
  });

  it('is tried again when WeChat is busy, with growing pauses, and freed when it stays so', async () => {
    const world = await supplied(channel);
    const before = await world.usable();
    world.api.fault = errcode(-1);
    const started = world.clock.monotonic();
    expect(await world.send(message(channel))).toMatchObject({ reason: 'UPSTREAM_BUSY', retryAfterMs: SECOND });
    expect(world.api.attempts).toHaveLength(3);
    expect(world.clock.monotonic() - started).toBeGreaterThan(2 * SECOND);
    expect(await world.usable()).toBe(before);
    world.api.faults.push(errcode(-1), errcode(-1));
    world.api.fault = undefined;
    expect(await world.send(message(channel))).toMatchObject({ replayed: false });
    expect(world.wechat.accepted).toHaveLength(1);
  });

  it('that did not reach WeChat is freed at once', async () => {
    const world = await supplied(channel);
    const before = await world.usable();
    world.api.fault = { kind: 'unsent' };
    expect(await world.send(message(channel))).toMatchObject({ reason: 'UPSTREAM_UNREACHABLE', retryAfterMs: SECOND });
    expect(world.api.attempts).toHaveLength(1);
    expect(await world.usable()).toBe(before);
    expect(world.ledger.spent('wxa', world.ledger.journal[0]?.quota.day ?? 0)).toBe(0);
  });

  it.each([lost, { kind: 'hang', arrives: 'never' } as const])(
    'is never sent twice when no answer comes: $kind',
    async (fault) => {
      const world = await supplied(channel);
      const before = await world.usable();
      world.api.fault = fault;
      const told = await world.send(message(channel));
      expect(told).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: undefined });
      expect(world.api.attempts).toHaveLength(CONSENTED.has(channel) ? 1 : 3);
      expect(await world.usable()).toBe(before);
      expect(world.seen('message_unknown')).toHaveLength(1);
    },
  );

  it('is refused when there is no token, and nothing is recorded', async () => {
    const world = await supplied(channel);
    world.tokens.failure = new LingpaiError('no token', { reason: 'UPSTREAM_TIMEOUT', retryAfterMs: 700 });
    expect(await world.send(message(channel))).toBe(world.tokens.failure);
    expect(world.ledger.journal).toHaveLength(0);
    expect(world.api.attempts).toHaveLength(0);
  });

  it('is freed when WeChat refuses the token and the one that replaced it', async () => {
    const world = await supplied(channel);
    const before = await world.usable();
    world.wechat.honours = () => false;
    expect(await world.send(message(channel))).toMatchObject({
      reason: 'TOKEN_REFUSED',
      answer: { errcode: 40001 },
      retryAfterMs: SECOND,
    });
    expect(world.tokens.refreshes).toBe(1);
    expect(world.api.attempts).toHaveLength(2);
    expect(await world.usable()).toBe(before);
  });
});

describe('a token that WeChat refuses', () => {
  it('is replaced once for 50 messages, and each is sent once', async () => {
    const broker = await World.started({ settings: { probeIntervalMs: 0 } });
    const world = new MessageWorld({
      tokens: {
        get: (appId, options) => broker.broker.get(appId, options),
        forceRefresh: (appId, rejected) => broker.broker.forceRefresh(appId, rejected),
      },
    });
    world.wechat.honours = (appId, token) => broker.wechat.honours(appId, token);
    broker.wechat.kill('wxc', { issuer: 'classic', which: 'current', stuck: false });
    const mints = broker.counts().mints;
    const told = Promise.all(
      Array.from({ length: 50 }, (_, i) => world.tell(message('official_account', { appId: 'wxc', text: `${i}` }))),
    );
    await broker.clock.advance(SECOND);
    for (const one of await told) expect(one).toMatchObject({ replayed: false });
    expect(broker.counts().mints - mints).toBe(1);
    expect(world.wechat.accepted).toHaveLength(50);
    expect(world.api.attempts).toHaveLength(100);
  });

  it('is not used again after a pause in which it was replaced', async () => {
    const world = new MessageWorld();
    const old = world.tokens.value('wxa');
    world.api.faults.push(errcode(-1));
    const told = world.tell(message('official_account'));
    await world.clock.advance(500);
    await world.tokens.forceRefresh('wxa', { kind: 'token', token: old });
    world.wechat.honours = (_, token) => token !== old;
    await world.clock.advance(5 * SECOND);
    expect(await told).toMatchObject({ replayed: false });
    expect(world.api.attempts).toHaveLength(2);
  });

  it('is not tried again without a newer one', async () => {
    const world = new MessageWorld();
    world.tokens.stillValid = true;
    world.api.faults.push(errcode(40001));
    expect(await world.send(message('official_account'))).toMatchObject({ reason: 'TOKEN_REFUSED' });
    expect(world.api.attempts).toHaveLength(1);
  });

  it('and cannot be replaced is told with the reason and the time', async () => {
    const world = new MessageWorld();
    world.tokens.refreshFailure = new LingpaiError('the cooldown lasts', { reason: 'COOLDOWN', retryAfterMs: 12_345 });
    world.api.faults.push(errcode(40001));
    expect(await world.send(message('official_account'))).toMatchObject({
      reason: 'TOKEN_REFUSED',
      retryAfterMs: 12_345,
      message: expect.stringContaining('the cooldown lasts'),
    });
    expect(world.api.attempts).toHaveLength(1);
  });

  it('while the message may have arrived leaves its fate unknown', async () => {
    const world = new MessageWorld();
    world.api.faults.push(lostAnswer, errcode(40001), errcode(40001));
    expect(await world.send(message('official_account'))).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
  });
});

describe('an attempt without an answer', () => {
  it.each([lost, lostAnswer])('is repeated with the same client_msg_id: arrives $arrives', async (fault) => {
    const world = new MessageWorld();
    world.api.faults.push(fault);
    expect(await world.send(message('official_account'))).toMatchObject({ sent: { messageId: '9007199254740993' } });
    expect(world.wechat.accepted).toHaveLength(1);
    const [first, second] = world.api.attempts;
    expect(first?.clientMsgId).not.toBe('');
    expect(second?.clientMsgId).toBe(first?.clientMsgId);
  });

  it('is repeated with the same form_id, and 41029 then means that it had arrived', async () => {
    const world = await supplied('mini_program');
    world.api.faults.push(lostAnswer);
    expect(await world.send(message('mini_program'))).toEqual({
      sent: { messageId: '', rid: 'rid-1' },
      replayed: false,
    });
    expect(world.api.attempts.map(({ formId }) => formId)).toEqual(['f1', 'f1']);
    expect(world.wechat.accepted).toHaveLength(1);
    expect(await world.usable()).toBe(0);
    expect(world.seen('message_sent')).toMatchObject([{ arrived: true }]);
  });

  it('is repeated with a named form_id that the ledger knows, and not with one that it does not', async () => {
    for (const [value, attempts] of [
      ['f1', 2],
      ['f2', 1],
    ] as const) {
      const world = await supplied('mini_program');
      world.wechat.giveForm('openid-1', 'form_id', 'f2');
      world.api.faults.push(lostAnswer);
      await world.send(message('mini_program', { formId: value }));
      expect(world.api.attempts.map(({ formId }) => formId)).toEqual(Array(attempts).fill(value));
    }
  });

  it('by a payment is not repeated, since it is good for more than one', async () => {
    const world = new MessageWorld();
    await world.give('prepay_id', 'p1');
    world.api.faults.push(lostAnswer);
    expect(await world.send(message('mini_program'))).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.wechat.accepted).toHaveLength(1);
    expect(await world.usable()).toBe(3);
  });

  it('proves nothing by a form that an earlier message of unknown fate may have used', async () => {
    const world = await supplied('mini_program');
    world.api.faults.push(lostAnswer, lost, lost);
    expect(await world.send(message('mini_program', { text: 'first' }))).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(await world.usable()).toBe(1);
    world.api.faults.push(lost);
    expect(await world.send(message('mini_program', { text: 'second' }))).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.wechat.accepted.map(({ delivery }) => delivery.message.data['keyword1']?.value)).toEqual(['first']);
    expect(await world.usable()).toBe(0);
  });

  it('is left unknown by a form that has expired meanwhile: it may have been used before', async () => {
    for (const arrives of [0, 'never'] as const) {
      const world = new MessageWorld();
      world.wechat.expiredUsedForm = 41028;
      await world.give('form_id', 'f1');
      await world.clock.advance(7 * 24 * 60 * MINUTE - MINUTE);
      world.api.faults.push({ kind: 'lost', arrives }, lost, lost);
      const keyed = message('mini_program', { idempotencyKey: 'k' });
      expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
      await world.clock.advance(MINUTE);
      expect(await world.send(keyed)).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: undefined });
      expect(world.ledger.permits).toMatchObject([{ uses: 0, reserved: 0 }]);
    }
  });

  it('is not repeated once repeating it is no longer safe', async () => {
    const world = new MessageWorld({ settings: { timeoutMs: 4 * MINUTE } });
    world.api.faults.push({ kind: 'hang', arrives: 0 }, { kind: 'hang', arrives: 'never' });
    const told = world.tell(message('official_account'));
    await world.clock.advance(9 * MINUTE);
    expect(await told).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.api.attempts).toHaveLength(2);
  });

  it('is not repeated so late that a slow request arrives after the time in which WeChat sends it once', async () => {
    const world = new MessageWorld();
    world.api.faults.push({ kind: 'hang', arrives: 0 }, { kind: 'hang', arrives: 40 * SECOND });
    const keyed = message('official_account', { idempotencyKey: 'k' });
    const first = world.tell(keyed);
    await world.clock.advance(0);
    await world.restart();
    await world.clock.advance(10 * MINUTE - 10 * SECOND);
    await world.send(keyed);
    await world.clock.advance(MINUTE);
    expect(world.wechat.accepted).toHaveLength(1);
    await Promise.race([first, undefined]);
  });

  it('is not repeated too late because the clock was set back', async () => {
    const world = new MessageWorld({ settings: { timeoutMs: 4 * MINUTE } });
    world.api.faults.push({ kind: 'hang', arrives: 0 }, { kind: 'hang', arrives: 'never' });
    const told = world.tell(message('official_account'));
    await world.clock.advance(MINUTE);
    world.clock.jump(-60 * MINUTE);
    await world.clock.advance(10 * MINUTE);
    expect(await told).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.api.attempts).toHaveLength(2);
    expect(world.wechat.accepted).toHaveLength(1);
  });

  it('is not repeated too late because the machine slept', async () => {
    const world = new MessageWorld();
    world.api.faults.push(lostAnswer);
    const told = world.tell(message('official_account'));
    await world.clock.advance(0);
    world.clock.sleep(10 * MINUTE);
    await world.clock.advance(10 * SECOND);
    expect(await told).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(world.api.attempts).toHaveLength(1);
  });
});

describe('permits', () => {
  it('are drawn oldest first', async () => {
    const world = new MessageWorld();
    for (const [kind, value] of [
      ['form_id', 'f1'],
      ['prepay_id', 'p1'],
      ['form_id', 'f2'],
    ] as const) {
      await world.give(kind, value);
      await world.clock.advance(1);
    }
    for (let i = 0; i < 5; i++) expect(await world.send(message('mini_program'))).toMatchObject({ replayed: false });
    expect(world.api.attempts.map(({ formId }) => formId)).toEqual(['f1', 'p1', 'p1', 'p1', 'f2']);
    expect(await world.send(message('mini_program'))).toMatchObject({ reason: 'PERMIT_MISSING' });
    expect(world.api.attempts).toHaveLength(5);
  });

  it('that WeChat refuses are voided and the next is drawn, three times', async () => {
    const world = new MessageWorld();
    for (let i = 1; i <= 5; i++) {
      await world.give('form_id', `f${i}`);
      await world.clock.advance(1);
    }
    world.api.faults.push(errcode(41029), errcode(41028), errcode(41029), errcode(41028));
    expect(await world.send(message('mini_program'))).toMatchObject({ reason: 'FORM_ID_INVALID' });
    expect(world.api.attempts.map(({ formId }) => formId)).toEqual(['f1', 'f2', 'f3', 'f4']);
    expect(await world.usable()).toBe(1);
    expect(await world.send(message('mini_program'))).toMatchObject({ replayed: false });
  });

  it('that are all refused leave the message without one, and its key free', async () => {
    const world = await supplied('mini_program');
    world.api.faults.push(errcode(41029));
    const sent = message('mini_program', { idempotencyKey: 'k' });
    expect(await world.send(sent)).toMatchObject({ reason: 'PERMIT_MISSING' });
    await world.give('form_id', 'f2');
    expect(await world.send(sent)).toMatchObject({ replayed: false });
  });

  it('that the request names are voided when refused, and no other is drawn', async () => {
    const world = await supplied('mini_program');
    await world.give('form_id', 'f2');
    world.api.faults.push(errcode(41028));
    expect(await world.send(message('mini_program', { formId: 'f1' }))).toMatchObject({ reason: 'FORM_ID_INVALID' });
    expect(world.api.attempts).toHaveLength(1);
    expect(await world.usable()).toBe(1);
  });

  it('that another message has reserved are not used by those who name them', async () => {
    const world = await supplied('mini_program');
    world.api.faults.push({ kind: 'slow', ms: 2 * SECOND });
    const first = world.tell(message('mini_program', { text: 'first' }));
    await world.clock.advance(SECOND);
    expect(await world.send(message('mini_program', { formId: 'f1' }))).toMatchObject({ reason: 'FORM_ID_USED' });
    await world.clock.advance(2 * SECOND);
    expect(await first).toMatchObject({ replayed: false });
    expect(world.api.attempts).toHaveLength(1);
  });

  it.each(['subscribe', 'subscription_notice'] as const)(
    '43101 to %s voids all of the consents to that template, and no others',
    async (channel) => {
      const world = new MessageWorld();
      await world.give('consent', 'c1');
      await world.give('consent', 'c2');
      await world.give('consent', 'c3', 'openid-1', 'template-2');
      await world.give('consent', 'c4', 'openid-2');
      world.api.faults.push(errcode(43101));
      expect(await world.send(message(channel))).toMatchObject({ reason: 'CONSENT_MISSING' });
      expect(await world.usable('openid-1')).toBe(1);
      expect(await world.usable('openid-2')).toBe(1);
    },
  );

  it.each(['subscribe', 'subscription_notice'] as const)(
    'a message by %s is sent also where no consent is deposited',
    async (channel) => {
      const world = new MessageWorld();
      world.wechat.giveConsent('openid-1', 'template-1');
      expect(await world.send(message(channel))).toMatchObject({ replayed: false });
      expect(await world.send(message(channel))).toMatchObject({ reason: 'CONSENT_MISSING' });
    },
  );
});

it('what an error says of waiting', async () => {
  for (const [code, reason, retryAfterMs] of [
    [43117, 'TOO_FREQUENT', 60 * SECOND],
    [61004, 'IP_NOT_ALLOWED', 5 * MINUTE],
    [48001, 'INTERFACE_NOT_GRANTED', 5 * MINUTE],
    [45011, 'MINUTE_QUOTA_EXHAUSTED', 2 * SECOND],
    [45009, 'DAILY_QUOTA_EXHAUSTED', 15 * MINUTE],
    [40003, 'OPENID_INVALID', undefined],
    [45103, 'INTERFACE_RETIRED', undefined],
  ] as const) {
    const world = new MessageWorld();
    world.api.faults.push(errcode(code));
    expect(await world.send(message('official_account'))).toMatchObject({ reason, retryAfterMs });
  }
});

it('a message whose turn has come is not sent, and one that failed not sent again, once the circuit breaker is open', async () => {
  const world = new MessageWorld();
  world.api.faults.push(errcode(-1), errcode(45009));
  const [busy, refused] = [world.tell(message('official_account')), world.tell(message('official_account'))];
  await world.clock.advance(MINUTE);
  expect(await refused).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
  expect(await busy).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
  expect(world.api.attempts).toHaveLength(2);
});

it('a message is not sent when the circuit breaker opened between its turn and its first attempt', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let gets = 0;
  class SlowTokens extends FakeTokens {
    override async get(appId: string): Promise<TokenState> {
      // The first message has its turn, and waits.
      if (++gets === 2) await promise;
      return await super.get(appId);
    }
  }
  const world = new MessageWorld({ tokens: new SlowTokens() });
  world.api.faults.push(errcode(45009));
  const first = world.tell(message('official_account'));
  await settle();
  expect(await world.send(message('official_account'))).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
  resolve();
  expect(await first).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
  expect(world.api.attempts).toHaveLength(1);
});

it('a message that may have been sent is not repeated while the circuit breaker is open', async () => {
  const world = new MessageWorld();
  world.api.faults.push(lost, errcode(45009));
  const [doubtful, refused] = [world.tell(message('official_account')), world.tell(message('official_account'))];
  await world.clock.advance(MINUTE);
  expect(await refused).toMatchObject({ reason: 'DAILY_QUOTA_EXHAUSTED' });
  expect(await doubtful).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
  expect(world.api.attempts).toHaveLength(2);
});

it('a message is not sent again while another is on its way to see whether the channel works', async () => {
  const world = new MessageWorld();
  world.api.faults.push(errcode(-1), errcode(48001), { kind: 'slow', ms: 4 * SECOND });
  const busy = world.tell(message('official_account'));
  expect(await world.tell(message('official_account'))).toMatchObject({ reason: 'INTERFACE_NOT_GRANTED' });
  world.clock.jump(5 * MINUTE);
  const probe = world.tell(message('official_account'));
  await world.clock.advance(3 * SECOND);
  expect(await busy).toMatchObject({ reason: 'INTERFACE_NOT_GRANTED' });
  expect(world.api.attempts).toHaveLength(3);
  await world.clock.advance(SECOND);
  expect(await probe).toMatchObject({ replayed: false });
});

it('an app that nobody configured is in no event', async () => {
  const world = new MessageWorld();
  world.tokens.failure = new LingpaiError('unknown', { reason: 'APP_NOT_FOUND' });
  expect(await world.send(message('official_account'))).toMatchObject({ reason: 'APP_NOT_FOUND' });
  expect(world.events).toEqual([]);
});

it('no event holds an openid, a form_id, a key, content or a token', async () => {
  const world = await supplied('mini_program');
  const secret = { idempotencyKey: 'secret-key', text: 'secret-text', toUser: 'openid-1' };
  world.api.faults.push(lostAnswer, errcode(41029));
  await world.send(message('mini_program', secret));
  world.api.faults.push(errcode(-1), errcode(40001), errcode(47003));
  await world.send(message('official_account', { ...secret, idempotencyKey: '' }));
  world.api.fault = lost;
  await world.send(message('subscribe', { ...secret, idempotencyKey: 'secret-key-2' }));
  const text = JSON.stringify(world.events);
  expect(new Set(world.events.map(({ type }) => type)).size).toBeGreaterThan(3);
  for (const word of ['openid', 'f1', 'secret', 'token of', 'template-1']) expect(text).not.toContain(word);
  expect(upstreamError(41029).message).not.toContain('openid');
});
