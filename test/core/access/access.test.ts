import { describe, expect, it } from 'vitest';
import { Access, LOOK_MS } from '../../../src/core/access/access.ts';
import type { AuditedCall, Rule } from '../../../src/core/access/ports.ts';
import { LOCAL } from '../../../src/core/access/principal.ts';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { accessOf, caller, FakeLimiter, FakeRights } from '../../support/access.ts';
import { FakeClock, settle } from '../../support/clock.ts';

const ORDERS: AuditedCall = { caller: caller('key:orders'), peer: '10.0.0.1' };
const NOBODY: AuditedCall = { caller: caller('key:nobody'), peer: '10.0.0.2' };
const READ: Rule = { who: ['key:orders'], may: ['read'], apps: ['wxa', 'wxb*'] };
const ALL: Rule = { who: ['key:orders'], may: ['read', 'refresh', 'admin'], apps: ['*'] };

function thrown(act: () => unknown): LingpaiError {
  try {
    act();
  } catch (error) {
    if (error instanceof LingpaiError) return error;
    throw error;
  }
  return expect.fail('nothing was thrown');
}

/** Lets slices, each of which waits for its turn, come to an end. */
async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await settle();
}

describe('without rules', () => {
  const clock = new FakeClock();
  const access = Access.open(clock);
  const call = { caller: LOCAL, peer: '' };

  it('everyone may do everything', () => {
    access.admit(LOCAL, () => '');
    access.require(call, 'admin', 'wxa');
    access.requireAll(call, 'status');
    access.requireRule(call, 'read');
    access.requireStill(call, 'read', 'wxa');
    expect([access.may(call, 'send', 'x'), access.mayAll(call, 'read'), access.isOpen]).toEqual([true, true, true]);
  });

  it('nothing is kept of calls and streams', () => {
    const follower = { check: () => expect.fail('looked at'), end: () => expect.fail('ended') };
    access.open(call, follower);
    access.follow(call, follower);
    access.changed();
    access.replace({ rights: new FakeRights([]) });
    expect([access.followed, access.callers(), clock.pending, access.may(call, 'read', 'x')]).toEqual([0, [], 0, true]);
  });
});

describe('a right', () => {
  it.each([
    ['wxa', true],
    ['wxbc', true],
    ['wxc', false],
    ['', false],
  ])('for %s: %s', (appId, allowed) => {
    const { access, audit } = accessOf(new FakeClock(), [READ]);
    if (allowed) access.require(ORDERS, 'read', appId);
    else {
      const error = thrown(() => access.require(ORDERS, 'read', appId));
      expect([error.reason, error.appId]).toEqual(['ACCESS_DENIED', appId]);
      expect(error.message).toBe(`no rule of access.rules lets "key:orders" read "${appId}"`);
    }
    expect(audit.events).toEqual(allowed ? [] : [{ event: 'access.denied', call: ORDERS, verb: 'read', appId }]);
  });

  it('for all apps is asked for as such', () => {
    const { access, audit } = accessOf(new FakeClock(), [READ]);
    expect(thrown(() => access.requireAll(ORDERS, 'read')).message).toMatch(/read all apps$/);
    expect(audit.events).toMatchObject([{ event: 'access.denied', appId: '*' }]);
    access.replace({ rights: new FakeRights([ALL]) });
    access.requireAll(ORDERS, 'read');
  });

  it('of any kind is enough where a rule is asked for', () => {
    const { access, audit } = accessOf(new FakeClock(), [READ]);
    access.requireRule(ORDERS, 'send');
    expect(thrown(() => access.requireRule(NOBODY, 'send')).reason).toBe('ACCESS_DENIED');
    expect(audit.of('access.denied')).toMatchObject([{ call: NOBODY, verb: 'send', appId: '*' }]);
  });

  it('names in an error are cut: they travel in headers', () => {
    const { access } = accessOf(new FakeClock(), []);
    const call = { caller: caller(`jwt:${'x'.repeat(9_000)}`), peer: '' };
    expect(thrown(() => access.require(call, 'read', 'y'.repeat(9_000))).message.length).toBeLessThan(500);
  });

  it('to what operators do is none while nobody could tell who did it', () => {
    const { access, audit } = accessOf(new FakeClock(), [ALL]);
    audit.writable = false;
    access.require(ORDERS, 'read', 'wxa');
    expect(thrown(() => access.require(ORDERS, 'refresh', 'wxa')).reason).toBe('AUDIT_UNAVAILABLE');
    expect(thrown(() => access.requireAll(ORDERS, 'admin')).reason).toBe('AUDIT_UNAVAILABLE');
    audit.writable = true;
    access.require(ORDERS, 'refresh', 'wxa');
  });
});

describe('at the door', () => {
  it('who is blocked is not let in, by name or by credential', () => {
    for (const blocked of ['key:orders', 'id-key:orders']) {
      const { access, audit } = accessOf(new FakeClock(), [READ]);
      access.replace({ rights: new FakeRights([READ], [blocked]) });
      expect(thrown(() => access.admit(ORDERS.caller, () => '10.0.0.1')).reason).toBe('CREDENTIALS_INVALID');
      expect(audit.events).toEqual([
        {
          event: 'authn.failed',
          peer: '10.0.0.1',
          method: 'key',
          cause: 'blocked',
          caller: 'key:orders',
          keyId: 'id-key:orders',
        },
      ]);
      expect(access.callers()).toEqual([]);
    }
  });

  it('who calls too often is told when to come again', () => {
    const limited: string[] = [];
    const limiter = new FakeLimiter({ calls: 2 });
    const { access } = accessOf(new FakeClock(), [READ], { limiter, onLimited: ({ name }) => limited.push(name) });
    for (let i = 0; i < 2; i++) access.admit(ORDERS.caller, () => '');
    const error = thrown(() => access.admit(ORDERS.caller, () => ''));
    expect([error.reason, error.retryAfterMs, limited]).toEqual(['CALLER_LIMITED', 700, ['key:orders']]);
  });

  it('it is known who calls, when last, and with how many streams', async () => {
    const clock = new FakeClock();
    const { access } = accessOf(clock, [READ]);
    const before = clock.now();
    access.admit(ORDERS.caller, () => '');
    await clock.advance(5_000);
    access.admit(NOBODY.caller, () => '');
    const stream = access.open(ORDERS, { check() {}, end() {} });
    expect(access.callers()).toMatchObject([
      { principal: NOBODY.caller, lastUseTime: before + 5_000, openStreams: 0 },
      { principal: ORDERS.caller, lastUseTime: before, openStreams: 1 },
    ]);
    for (let i = 0; i < 2; i++) stream[Symbol.dispose]();
    expect(access.callers().map(({ openStreams }) => openStreams)).toEqual([0, 0]);
  });
});

describe('what goes on', () => {
  /** A stream of a caller, and with what it ended. */
  function rig(rules: Rule[] = [READ], more: Parameters<typeof accessOf>[2] = {}) {
    const clock = new FakeClock();
    const parts = accessOf(clock, rules, more);
    const ended: string[] = [];
    const open = (call: AuditedCall, appId = 'wxa') =>
      parts.access.open(call, {
        check: () => parts.access.require(call, 'read', appId),
        end: ({ reason }) => ended.push(reason),
      });
    return { clock, ...parts, ended, open };
  }

  it('ends when a rule no longer allows it, and others go on (P14)', async () => {
    const { access, audit, ended, open } = rig();
    open(ORDERS, 'wxa');
    open(ORDERS, 'wxb1');
    access.replace({ rights: new FakeRights([{ ...READ, apps: ['wxb*'] }]) });
    await turns();
    expect([ended, access.followed]).toEqual([['ACCESS_DENIED'], 1]);
    expect(audit.of('stream.ended')).toEqual([{ event: 'stream.ended', call: ORDERS, outcome: 'ACCESS_DENIED' }]);
  });

  it('ends when its caller is blocked or its credential revoked', async () => {
    const { access, credentials, ended, open } = rig([{ ...READ, who: ['*'] }]);
    open(ORDERS);
    open(NOBODY);
    credentials.revoked.add('key:orders');
    access.changed();
    await turns();
    expect(ended).toEqual(['CREDENTIALS_INVALID']);
    access.replace({ rights: new FakeRights([{ ...READ, who: ['*'] }], ['key:nobody']) });
    await turns();
    expect([ended, access.followed]).toEqual([['CREDENTIALS_INVALID', 'CREDENTIALS_INVALID'], 0]);
  });

  it('ends within 5 s after its credential has expired, without anybody asking', async () => {
    const { clock, ended, open } = rig();
    const expiring = { ...ORDERS, caller: { ...ORDERS.caller, expireTime: clock.now() + 60_000 } };
    open(expiring);
    await clock.advance(59_999);
    expect(ended).toEqual([]);
    await clock.advance(5_000);
    expect(ended).toEqual(['CREDENTIALS_EXPIRED']);
  });

  it('leaves no timer once it is over', async () => {
    const { clock, access, open } = rig();
    const [one, two] = [open(ORDERS), open(ORDERS)];
    one[Symbol.dispose]();
    expect(clock.pending).toBe(1);
    two[Symbol.dispose]();
    expect([clock.pending, access.followed]).toEqual([0, 0]);
    open(ORDERS)[Symbol.dispose]();
    await clock.advance(2 * LOOK_MS);
    expect(clock.pending).toBe(0);
  });

  it('time alone asks no rules', async () => {
    let checks = 0;
    const { clock, access } = rig();
    access.open(ORDERS, { check: () => void checks++, end: () => expect.fail('ended') });
    await clock.advance(10 * LOOK_MS);
    expect(checks).toBe(0);
    access.changed();
    await turns();
    expect(checks).toBe(1);
  });

  it('is bounded for each caller, and one that ends makes room', () => {
    const { access, open } = rig([READ], { limiter: new FakeLimiter({ streams: 2 }) });
    const first = open(ORDERS);
    open(ORDERS);
    expect(thrown(() => open(ORDERS))).toMatchObject({ reason: 'CALLER_LIMITED', retryAfterMs: 5_000 });
    open(NOBODY);
    first[Symbol.dispose]();
    open(ORDERS);
    expect(access.followed).toBe(3);
  });

  it('is looked at in slices: of 10,000 that end, others have their turn after each few', async () => {
    const slices: number[] = [];
    let inSlice = 0;
    const pause = async () => {
      slices.push(inSlice);
      inSlice = 0;
    };
    const { access, credentials } = rig([READ], { pause });
    for (let i = 0; i < 10_000; i++) access.open(ORDERS, { check() {}, end: () => void inSlice++ });
    credentials.revoked.add('key:orders');
    access.changed();
    await turns();
    expect(access.followed).toBe(0);
    expect(Math.max(...slices)).toBeLessThanOrEqual(64);
    expect(slices.reduce((sum, count) => sum + count, inSlice)).toBe(10_000);
  });

  it('a slice ends sooner where what it looks at takes long', async () => {
    const clock = new FakeClock();
    let now = 0;
    const slow = { ...clock, now: () => 0, schedule: clock.schedule.bind(clock), monotonic: () => now };
    let pauses = 0;
    const { access } = accessOf(slow, [READ], { pause: async () => void pauses++ });
    const check = () => {
      now += 3;
    };
    for (let i = 0; i < 10; i++) access.open(ORDERS, { check, end: () => expect.fail('ended') });
    access.changed();
    await turns();
    expect(pauses).toBe(5);
  });

  it('that cannot be looked at ends with what was thrown, and the others are looked at all the same, then and later', async () => {
    const { access, credentials, audit } = rig();
    const fault = new TypeError('a fault');
    const ended: unknown[] = [];
    const end = (error: unknown) => void ended.push(error);
    const check = () => {
      throw fault;
    };
    access.open(NOBODY, { check, end });
    access.open(ORDERS, { check() {}, end });
    access.changed();
    await turns();
    expect([ended, access.followed]).toEqual([[fault], 1]);
    credentials.revoked.add('key:orders');
    access.changed();
    await turns();
    expect(ended).toMatchObject([fault, { reason: 'CREDENTIALS_INVALID' }]);
    expect(audit.of('stream.ended').map(({ outcome }) => outcome)).toEqual(['INTERNAL', 'CREDENTIALS_INVALID']);
  });

  it('a change that comes while all is looked at is not missed by those that were looked at before', async () => {
    const waiting: (() => void)[] = [];
    const pause = () => new Promise<void>((resolve) => waiting.push(resolve));
    const { access, credentials } = rig([READ], { pause });
    let ended = 0;
    for (let i = 0; i < 100; i++) access.open(ORDERS, { check() {}, end: () => void ended++ });
    access.changed();
    expect(waiting).toHaveLength(1);
    credentials.revoked.add('key:orders');
    access.changed();
    while (waiting.length > 0) {
      waiting.shift()?.();
      await turns(2);
    }
    expect([ended, access.followed]).toEqual([100, 0]);
  });

  it('after a wait, rights and credentials count as they are then', () => {
    const { access, credentials, audit } = rig();
    access.requireStill(ORDERS, 'read', 'wxa');
    expect(thrown(() => access.requireStill(ORDERS, 'read', 'wxc')).reason).toBe('ACCESS_DENIED');
    access.requireCredential(ORDERS);
    credentials.revoked.add('key:orders');
    expect(thrown(() => access.requireStill(ORDERS, 'read', 'wxa')).reason).toBe('CREDENTIALS_INVALID');
    expect(thrown(() => access.requireCredential(ORDERS)).reason).toBe('CREDENTIALS_INVALID');
    expect(audit.of('authn.failed')).toMatchObject([{ caller: 'key:orders' }, { caller: 'key:orders' }]);
  });
});
