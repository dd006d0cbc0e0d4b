import { describe, expect, it } from 'vitest';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { canonicalText } from '../../../src/core/messages/digest.ts';
import { MessageWorld, message } from '../../support/messages.ts';
import { MINUTE, SECOND } from '../../support/world.ts';

const one = message('subscribe', { idempotencyKey: 'k' });
const SENT = { kind: 'sent', sent: { messageId: 'm', rid: 'r' } } as const;

/** A message that another replica has begun; it dies with it when `owners` no longer has that. */
async function begunElsewhere(owners = new Set(['r2'])) {
  const world = new MessageWorld({ isOther: (owner) => owners.has(owner) });
  await world.give('consent', 'c1');
  const now = world.clock.now();
  await world.ledger.begin({
    sendId: 'theirs',
    owner: 'r2',
    appId: 'wxa',
    channel: 'subscribe',
    key: 'k',
    digest: canonicalText(one),
    now,
    keyExpireTime: now + 24 * 60 * MINUTE,
    quota: { day: 0, limit: 1 },
    permit: { kind: 'none' },
  });
  const calls: string[] = [];
  world.ledger.onDone = (call) => calls.push(call);
  const settle = (outcome: typeof SENT | { readonly kind: 'freed' }) =>
    world.ledger.settle('theirs', { outcome, permit: 'spent', now: world.clock.now() });
  return { world, calls, settle };
}

describe('a message that another replica is sending', () => {
  it('is looked up until that has settled it, and what became of it is answered', async () => {
    const { world, calls, settle } = await begunElsewhere();
    const told = world.tell(one);
    await world.clock.advance(10 * SECOND);
    expect(calls).toEqual(['begin', ...Array(40).fill('lookup')]);
    await settle(SENT);
    await world.clock.advance(SECOND);
    expect(await told).toMatchObject({ replayed: true, sent: SENT.sent });
    expect(world.ledger.journal).toHaveLength(1);
    expect(world.api.attempts).toHaveLength(0);
  });

  it('is sent here when that has not sent it and never will', async () => {
    const { world, settle } = await begunElsewhere();
    const told = world.tell(one);
    await world.clock.advance(SECOND);
    await settle({ kind: 'freed' });
    await world.clock.advance(SECOND);
    expect(await told).toMatchObject({ replayed: false });
    expect(world.ledger.journal).toHaveLength(2);
  });

  it('is of unknown fate when that has not settled it within a minute', async () => {
    const { world } = await begunElsewhere();
    const told = world.tell(one);
    await world.clock.advance(MINUTE);
    expect(await told).toMatchObject({ reason: 'DELIVERY_UNKNOWN', retryAfterMs: 5 * SECOND });
  });

  it('is of unknown fate at once when that has died', async () => {
    const owners = new Set(['r2']);
    const { world, calls } = await begunElsewhere(owners);
    const told = world.tell(one);
    await world.clock.advance(SECOND);
    owners.clear();
    await world.clock.advance(SECOND);
    expect(await told).toMatchObject({ reason: 'DELIVERY_UNKNOWN' });
    expect(calls.filter((call) => call === 'begin')).toHaveLength(1);
  });
});

it('a key is looked up and nothing is begun while the app has no token', async () => {
  const world = new MessageWorld();
  await world.give('consent', 'c1');
  await world.send(one);
  const calls: string[] = [];
  world.ledger.onDone = (call) => calls.push(call);
  world.tokens.failure = new LingpaiError('no token', { reason: 'UPSTREAM_BUSY', appId: 'wxa' });
  expect(await world.send(one)).toMatchObject({ replayed: true });
  expect(await world.send({ ...one, idempotencyKey: 'other' })).toMatchObject({ reason: 'UPSTREAM_BUSY' });
  expect(calls).toEqual(['lookup', 'lookup']);
});
