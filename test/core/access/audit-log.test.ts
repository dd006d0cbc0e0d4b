import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { AuditLine } from '../../../src/core/access/audit-line.ts';
import { AuditLog } from '../../../src/core/access/audit-log.ts';
import type { AuditEvent } from '../../../src/core/access/ports.ts';
import type { Principal } from '../../../src/core/access/principal.ts';
import { FakeClock } from '../../support/clock.ts';

const principal = (name: string, credentialId: string | null = 'c0ffee000000'): Principal => {
  return { name, method: 'key', credentialId, expireTime: null };
};
const callOf = (name = 'key:orders', peer = '10.0.0.1') => ({ caller: principal(name), peer });
const CALL = callOf();
const read = (part: Partial<Extract<AuditEvent, { event: 'token.read' }>> = {}): AuditEvent => {
  return { event: 'token.read', call: CALL, appId: 'wx1', tokenId: 'aaaaaaaaaaaa', ...part };
};
const denied = (call = CALL, appId = 'wx1'): AuditEvent => ({ event: 'access.denied', call, verb: 'read', appId });
const failed = (peer: string, cause = 'unknown key'): AuditEvent => {
  return { event: 'authn.failed', peer, method: 'key', cause };
};

function setup() {
  const clock = new FakeClock();
  const lines: AuditLine[] = [];
  const sink = { write: (line: AuditLine) => void lines.push(line), writable: true };
  const log = new AuditLog({ clock, sink });
  const take = () => lines.splice(0);
  return { clock, sink, log, take, start: clock.now() };
}

/** How often each thing was counted in all, by event. */
function sumOf(lines: readonly AuditLine[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { event, count } of lines) sums[event] = (sums[event] ?? 0) + count;
  return sums;
}

describe('reads', () => {
  it('become one line a minute, with count, first, last and the tokens of that time', async () => {
    const { clock, log, take, start } = setup();
    log.record(read());
    await clock.advance(10_000);
    log.record(read({ tokenId: 'bbbbbbbbbbbb' }));
    await clock.advance(10_000);
    log.record(read());
    await clock.advance(39_999);
    expect(take()).toEqual([]);
    await clock.advance(1);
    const line = { event: 'token.read', caller: 'key:orders', keyId: 'c0ffee000000', peer: '10.0.0.1', appId: 'wx1' };
    const tokenIds = ['aaaaaaaaaaaa', 'bbbbbbbbbbbb'];
    expect(take()).toEqual([{ ...line, tokenIds, count: 3, first: start, last: start + 20_000 }]);
    log.record(read());
    await clock.advance(60_000);
    const [next] = take();
    expect(next).toMatchObject({ tokenIds: ['aaaaaaaaaaaa'], count: 1, first: start + 60_000, last: start + 60_000 });
    await clock.advance(600_000);
    expect([take(), clock.pending]).toEqual([[], 0]);
  });

  it('are told apart by caller, credential, peer and app', async () => {
    const { clock, log, take } = setup();
    const calls = [CALL, callOf('key:pay'), callOf('key:orders', '10.0.0.2')];
    const rotated = { caller: principal('key:orders', 'decaf0000000'), peer: '10.0.0.1' };
    for (const call of [...calls, rotated]) for (const appId of ['wx1', 'wx2']) log.record(read({ call, appId }));
    await clock.advance(60_000);
    expect(take().map(({ count }) => count)).toEqual(Array(8).fill(1));
  });

  it('show no app id that can be none: it may be a token that somebody mixed up', async () => {
    const { clock, log, take } = setup();
    const key = `lingpai_${'k'.repeat(38)}`;
    for (const appId of ['x'.repeat(65), 'x'.repeat(512), '', 'a b', '\0', key]) log.record(read({ appId }));
    await clock.advance(60_000);
    expect(take()).toMatchObject([{ appId: 'invalid', count: 6 }]);
  });

  it('name at most 16 tokens', async () => {
    const { clock, log, take } = setup();
    for (let i = 0; i < 100; i++) log.record(read({ tokenId: `${i}` }));
    await clock.advance(60_000);
    const [line] = take();
    expect([line?.count, line?.tokenIds?.length]).toEqual([100, 16]);
  });

  it('of more callers, apps and peers than are told apart become `other`, and none is lost', async () => {
    const { clock, log, take } = setup();
    for (let i = 0; i < 10_000; i++) log.record(read({ call: callOf('key:orders', `peer${i}`) }));
    for (let i = 0; i < 500; i++) log.record(read({ call: callOf('key:orders', `more${i}`), appId: `wx${i}` }));
    for (let i = 0; i < 3_000; i++) log.record(read({ call: callOf(`key:k${i}`) }));
    log.record(read({ call: callOf('key:orders', 'peer7') }));
    await clock.advance(60_000);
    await clock.advance(0);
    const lines = take();
    expect(sumOf(lines)).toEqual({ 'token.read': 13_501 });
    expect(lines.length).toBeLessThanOrEqual(11_001);
    const other = { peer: 'other', appId: 'other', keyId: null };
    expect(lines).toContainEqual(expect.objectContaining({ ...other, caller: 'key:orders', count: 500 }));
    expect(lines).toContainEqual(expect.objectContaining({ ...other, caller: 'other', count: 3_000 - 999 }));
    expect(lines).toContainEqual(expect.objectContaining({ peer: 'peer7', count: 2 }));
  });

  it('of very many are handed out in stretches', async () => {
    const { clock, log, take } = setup();
    for (let i = 0; i < 1_200; i++) log.record(read({ appId: `wx${i}` }));
    const stretches: number[] = [];
    clock.onStep = () => stretches.push(take().length);
    await clock.advance(60_000);
    expect(stretches.filter((lines) => lines > 0)).toEqual([500, 500, 200]);
  });
});

it('messages are counted by outcome', async () => {
  const { clock, log, take } = setup();
  const sent = (outcome: string) => log.record({ event: 'messages.sent', call: CALL, appId: 'wx1', outcome });
  for (const outcome of ['SENT', 'SENT', 'USER_OPTED_OUT']) sent(outcome);
  await clock.advance(60_000);
  expect(take().map(({ outcome, count }) => [outcome, count])).toEqual([
    ['SENT', 2],
    ['USER_OPTED_OUT', 1],
  ]);
});

describe('refusals', () => {
  it.each([
    ['access.denied', denied(), { caller: 'key:orders', verb: 'read', appId: 'wx1', peer: '10.0.0.1' }],
    ['authn.failed', failed('10.0.0.1'), { method: 'key', cause: 'unknown key', peer: '10.0.0.1' }],
  ])('%s: the first is told at once, those after it once a minute while they come', async (event, refusal, fields) => {
    const { clock, log, take, start } = setup();
    log.record(refusal);
    expect(take()).toMatchObject([{ event, ...fields, count: 1, first: start, last: start }]);
    await clock.advance(1_000);
    for (let i = 0; i < 5; i++) log.record(refusal);
    expect(take()).toEqual([]);
    await clock.advance(59_000);
    expect(take()).toMatchObject([{ event, ...fields, count: 5, first: start + 1_000, last: start + 1_000 }]);
    for (let i = 0; i < 2; i++) log.record(refusal);
    await clock.advance(60_000);
    expect(take()).toMatchObject([{ count: 2, first: start + 60_000 }]);
    // A minute without one, and the next is news again.
    await clock.advance(60_000);
    expect([take(), clock.pending]).toEqual([[], 0]);
    log.record(refusal);
    expect(take()).toMatchObject([{ count: 1, first: start + 180_000 }]);
  });

  it('of many strangers are bounded, and take nothing from the lines of others', async () => {
    const { clock, log, take } = setup();
    for (let i = 0; i < 50_000; i++) log.record(failed(`2001:db8::${i.toString(16)}`));
    const atOnce = take();
    expect(atOnce.length).toBe(1_001);
    expect(atOnce.at(-1)).toMatchObject({ peer: 'other', method: 'other', cause: 'other' });
    log.record(read());
    log.record(denied());
    await clock.advance(60_000);
    const lines = [...atOnce, ...take()];
    expect(sumOf(lines)).toEqual({ 'authn.failed': 50_000, 'token.read': 1, 'access.denied': 1 });
    expect(lines.filter(({ event }) => event !== 'authn.failed').map(({ peer }) => peer)).toEqual([
      '10.0.0.1',
      '10.0.0.1',
    ]);
  });

  it('keep next to nothing of long names', () => {
    setFlagsFromString('--expose-gc');
    const gc: () => void = runInNewContext('gc');
    const { log, take } = setup();
    gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 200; i++) {
      const long = `${i}`.padEnd(500_000, 'x');
      log.record(denied(CALL, long));
      log.record(failed('10.0.0.1', long));
    }
    expect(take().every(({ appId = '', cause = '' }) => appId.length + cause.length < 140)).toBe(true);
    gc();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000);
    log.record(failed('10.0.0.1'));
  });
});

it('all else is told at once', () => {
  const { log, take, start } = setup();
  const at = { first: start, last: start };
  const caller = { caller: 'key:orders', keyId: 'c0ffee000000', peer: '10.0.0.1' };
  const many = Array.from({ length: 40 }, (_, i) => `wx${i}`);
  const events: [AuditEvent, object][] = [
    [
      { event: 'watch.opened', call: CALL, appIds: [] },
      { ...caller, appIds: ['*'], apps: 0, count: 1 },
    ],
    [
      { event: 'watch.closed', call: CALL, appIds: many },
      { ...caller, appIds: many.slice(0, 16), count: 1 },
    ],
    [
      { event: 'token.reported', call: CALL, appId: 'wx1', tokenId: 'abc', outcome: 'REFRESHED' },
      { ...caller, appId: 'wx1', tokenIds: ['abc'], outcome: 'REFRESHED', count: 1 },
    ],
    [
      { event: 'token.refreshed', call: CALL, appId: 'wx1', tokenId: null, outcome: 'COOLDOWN' },
      { ...caller, appId: 'wx1', tokenIds: [], outcome: 'COOLDOWN', count: 1 },
    ],
    [
      { event: 'config.loaded', rules: 3, apps: 2 },
      { rules: 3, apps: 2, count: 1 },
    ],
    [
      { event: 'key.added', caller: 'key:a', keyId: 'abc' },
      { caller: 'key:a', keyId: 'abc', count: 1 },
    ],
    [
      { event: 'key.revoked', caller: 'key:a', keyId: 'abc' },
      { caller: 'key:a', keyId: 'abc', count: 1 },
    ],
    [
      { event: 'stream.ended', call: CALL, outcome: 'ACCESS_DENIED' },
      { ...caller, outcome: 'ACCESS_DENIED', count: 1 },
    ],
    [
      { event: 'store.resealed', keyId: 'abc', count: 7 },
      { keyId: 'abc', count: 7 },
    ],
  ];
  for (const [event, fields] of events) {
    log.record(event);
    expect(take()).toEqual([{ event: event.event, ...fields, ...at }]);
  }
});

it('close hands out all that was counted, and leaves no timer; what comes later is told at once', async () => {
  const { clock, log, take } = setup();
  log.record(read());
  log.record(denied());
  log.record(denied());
  take();
  log.close();
  expect(sumOf(take())).toEqual({ 'token.read': 1, 'access.denied': 1 });
  expect(clock.pending).toBe(0);
  log.record(read());
  expect(take()).toMatchObject([{ event: 'token.read', count: 1 }]);
  expect(clock.pending).toBe(0);
});

it('close also hands out what a stretch left over', async () => {
  const { clock, log, take } = setup();
  for (let i = 0; i < 1_200; i++) log.record(read({ appId: `wx${i}` }));
  clock.onStep = () => {
    clock.onStep = undefined;
    log.close();
  };
  await clock.advance(60_000);
  expect(sumOf(take())).toEqual({ 'token.read': 1_200 });
});

it('is writable as its sink is', () => {
  const { log, sink } = setup();
  expect(log.writable).toBe(true);
  sink.writable = false;
  expect(log.writable).toBe(false);
});

describe('what was sent as an app id', () => {
  const SECRETS = ['0123456789abcdef0123456789abcdef', 'lingpai_0123456789', 'oABCD-openid-0123456789', 'x'];

  it('is shown where it looks like one or is configured, and never else: it may be a secret', () => {
    const { log, take } = setup();
    log.apps = new Set(['orders-app']);
    const known = ['wx0123456789abcdef', 'gh_0123456789ab', 'orders-app'];
    for (const appId of [...known, ...SECRETS, `wx${SECRETS[0]}`]) {
      log.record(denied(CALL, appId));
      log.record({ event: 'token.refreshed', call: CALL, appId, tokenId: null, outcome: 'x' });
      log.record({ event: 'watch.opened', call: CALL, appIds: [appId] });
      log.record({ event: 'messages.sent', call: CALL, appId, outcome: 'APP_NOT_FOUND' });
    }
    log.close();
    const shown = new Set(take().flatMap(({ appId, appIds }) => appIds ?? appId ?? []));
    expect([...shown].sort()).toEqual([...known, 'invalid'].sort());
  });
});
