import { describe, expect, it } from 'vitest';
import type { TokenCall } from '../../src/core/tokens/ports.ts';
import type { FaultEffect } from '../../src/sandbox/faults.ts';
import { settle } from '../support/clock.ts';
import { SandboxWeChat } from '../support/sandbox-port.ts';
import { appId, failure, rig, secret, toError } from './support.ts';

function portRig() {
  const base = rig();
  const port = new SandboxWeChat({ wechat: base.wechat, clock: base.clock, toError });
  const abort = new AbortController();
  const fetch = (call: TokenCall = 'classic', given = secret) =>
    port.fetchToken({ appId, secret: given, issuer: 'classic' }, call, abort.signal);
  return { ...base, port, abort, fetch, inject: (effect: FaultEffect) => base.wechat.faults.inject({ effect }) };
}

describe('SandboxWeChat', () => {
  it('fetches a token of each kind and probes it', async () => {
    const { port, abort, wechat, fetch } = portRig();
    for (const call of ['classic', 'stable', 'stable_force'] as const) {
      const grant = await fetch(call);
      expect(wechat.honours(appId, grant.value)).toBe(true);
      expect(wechat.tokens(appId).map(({ id }) => id)).toContain(grant.id);
      expect(grant.lifetimeMs).toBe(7_200_000);
      expect(await port.probe(grant.value, abort.signal)).toEqual({ accepted: true });
    }
    expect(await port.probe('unknown', abort.signal)).toEqual({ accepted: false, errcode: 40014 });
  });

  it('hands errcodes to the table it was given, with the call they came from', async () => {
    const { port, abort, wechat, token, fetch } = portRig();
    await expect(fetch('stable', 'wrong')).rejects.toMatchObject({
      message: 'stable: 40125',
      answer: { errcode: 40125, errmsg: expect.stringMatching(/^invalid appsecret rid: /) },
    });
    const value = token('classic');
    wechat.changeApp(appId, { condition: 'account_closed' });
    await expect(port.probe(value, abort.signal)).rejects.toMatchObject({ message: 'probe: 50004' });
  });

  const faults: [FaultEffect, string, number][] = [
    [{ kind: 'refused' }, 'UPSTREAM_UNREACHABLE unsent', 0],
    [{ kind: 'reset', takesEffect: false }, 'UPSTREAM_UNREACHABLE unknown', 0],
    [{ kind: 'reset', takesEffect: true }, 'UPSTREAM_UNREACHABLE unknown', 1],
    [{ kind: 'html', status: 200, takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'html', status: 502, takesEffect: true }, 'UPSTREAM_MALFORMED unknown', 1],
    [{ kind: 'truncated' }, 'UPSTREAM_MALFORMED unknown', 1],
    [{ kind: 'empty', takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'huge', bytes: 65_537, takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    ...['[]', 'null', '{}', '{"access_token":"","expires_in":7200}', '{"access_token":"a"}'].map(
      (text): [FaultEffect, string, number] => [
        { kind: 'body', text, takesEffect: false },
        'UPSTREAM_MALFORMED unknown',
        0,
      ],
    ),
    ...['0', '-1', '"7200"', 'null'].map((seconds): [FaultEffect, string, number] => [
      { kind: 'body', text: `{"access_token":"a","expires_in":${seconds}}`, takesEffect: false },
      'UPSTREAM_MALFORMED unknown',
      0,
    ]),
    [{ kind: 'errcode', errcode: -1 }, 'UPSTREAM_ERROR refused', 0],
  ];
  it.each(faults)('%o fails as %s, with %i minted', async (effect, expected, mints) => {
    const { wechat, fetch, inject } = portRig();
    inject(effect);
    expect(await failure(fetch())).toBe(expected);
    expect(wechat.counts(appId)).toMatchObject({ classic: 1, mints });
  });

  it('the largest body that is no fault is 64 KiB', async () => {
    const { fetch, inject } = portRig();
    inject({ kind: 'huge', bytes: 65_536, takesEffect: false });
    expect((await fetch()).lifetimeMs).toBe(7_200_000);
  });

  it('answers late by the clock alone', async () => {
    const { clock, wechat, fetch, inject } = portRig();
    inject({ kind: 'latency', ms: 3_000 });
    let settled = false;
    const answer = fetch().finally(() => {
      settled = true;
    });
    await clock.advance(2_999);
    expect({ settled, mints: wechat.counts(appId).mints }).toEqual({ settled: false, mints: 1 });
    await clock.advance(1);
    expect(settled).toBe(true);
    await answer;
  });

  it.each<FaultEffect>([
    { kind: 'latency', ms: 3_000 },
    { kind: 'hang', takesEffect: false },
    { kind: 'hang', takesEffect: true },
  ])('%o ends by the signal, at once, and leaves no timer', async (effect) => {
    const { clock, abort, fetch, inject } = portRig();
    inject(effect);
    let settled = false;
    const failed = failure(fetch()).finally(() => {
      settled = true;
    });
    await settle();
    expect(settled).toBe(false);
    abort.abort();
    expect(await failed).toBe('UPSTREAM_TIMEOUT unknown');
    expect(clock.pending).toBe(0);
  });

  it('sends nothing once the signal has aborted', async () => {
    const { abort, wechat, fetch } = portRig();
    abort.abort();
    expect(await failure(fetch())).toBe('UPSTREAM_TIMEOUT unsent');
    expect(wechat.calls).toEqual([]);
  });
});

describe('faults', () => {
  it('meet only the calls they name, as often as they say', () => {
    const { wechat, ask, token, probe } = rig();
    const value = token('classic');
    wechat.faults.inject({
      effect: { kind: 'errcode', errcode: -1 },
      appId,
      calls: ['stable_force', 'probe'],
      count: 2,
    });
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: 45009 }, appId: 'wxother' });
    expect(ask('classic').errcode).toBeUndefined();
    expect(ask('stable').errcode).toBeUndefined();
    expect(ask('stable_force')).toEqual({ errcode: -1, errmsg: expect.stringMatching(/^system error rid: /) });
    expect(probe(value).errcode).toBe(-1);
    expect(probe(value).errcode).toBeUndefined();
    expect(ask('stable', { appId: 'wxother' }).errcode).toBe(45009);
    expect(wechat.calls.map(({ fault }) => fault)).toEqual([null, null, null, 'errcode', 'errcode', null, 'errcode']);
  });

  it('last as long as they say, or until they are cleared; the oldest comes first', async () => {
    const { clock, wechat, ask } = rig();
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: -1, errmsg: 'first' }, durationMs: 1_000 });
    wechat.faults.inject({ effect: { kind: 'errcode', errcode: -2 } });
    await clock.advance(999);
    expect(ask('classic')).toMatchObject({ errcode: -1, errmsg: expect.stringMatching(/^first rid: /) });
    await clock.advance(1);
    expect(ask('classic').errcode).toBe(-2);
    expect(wechat.faults.active).toHaveLength(1);
    wechat.faults.clear();
    expect(ask('classic').errcode).toBeUndefined();
  });
});
