import { describe, expect, it } from 'vitest';
import type { Channel } from '../../src/core/messages/message.ts';
import type { Delivery } from '../../src/core/messages/ports.ts';
import type { FaultEffect } from '../../src/sandbox/faults.ts';
import { settle } from '../support/clock.ts';
import { SandboxMessageApi } from '../support/sandbox-message-port.ts';
import { appId, failure, LETTER, rig, toError } from './support.ts';

const channels: Record<Channel['kind'], Channel> = {
  mini_program: { kind: 'mini_program', formId: '', emphasisKeyword: 'thing1' },
  subscribe: { kind: 'subscribe', miniProgramState: 'trial', lang: 'en_US' },
  official_account: { kind: 'official_account', url: 'u', miniProgramAppId: 'wx2', miniProgramPage: 'p' },
  subscription_notice: { kind: 'subscription_notice', miniProgramAppId: 'wx2', miniProgramPage: 'p' },
};

function portRig() {
  const base = rig({ retired: false, unlimitedConsent: true });
  const { permits, inbox } = base.wechat.messages(appId);
  permits.addForm({ formId: 'f', toUser: 'oUser1', kind: 'form_id', collectTime: base.wechat.now() });
  const api = new SandboxMessageApi({ wechat: base.wechat, clock: base.clock, toError });
  const abort = new AbortController();
  const bearer = base.token('stable');
  const send = (kind: Channel['kind'] = 'subscribe', given = bearer) => {
    const delivery: Delivery = {
      message: {
        appId,
        toUser: 'oUser1',
        templateId: 'T1',
        page: 'pages/a',
        data: { thing1: { value: 'Tea', color: '#000000' } },
        idempotencyKey: '',
        channel: channels[kind],
      },
      formId: kind === 'mini_program' ? 'f' : '',
      clientMsgId: kind === 'official_account' ? 'c' : '',
    };
    return api.send(delivery, given, abort.signal);
  };
  return { ...base, inbox, abort, send, inject: (effect: FaultEffect) => base.wechat.faults.inject({ effect }) };
}

describe('SandboxMessageApi', () => {
  const data = { thing1: { value: 'Tea', color: '#000000' } };
  it.each([
    ['mini_program', { page: 'pages/a', formId: 'f', emphasisKeyword: 'thing1', data }],
    ['subscribe', { page: 'pages/a', miniProgramState: 'trial', lang: 'en_US' }],
    ['official_account', { url: 'u', miniProgramAppId: 'wx2', miniProgramPage: 'p', clientMsgId: 'c', data }],
    ['subscription_notice', { page: 'pages/a', miniProgramAppId: 'wx2', miniProgramPage: 'p' }],
  ] as const)('sends by %s what the channel has, and keeps every digit of the id', async (kind, letter) => {
    const { wechat, send, inbox } = portRig();
    for (const trailingComma of [false, true]) {
      wechat.changeApp(appId, { trailingComma });
      wechat
        .messages(appId)
        .permits.addForm({ formId: 'f', toUser: 'oUser1', kind: 'form_id', collectTime: wechat.now() });
      const { messageId, rid } = await send(kind);
      const [{ time: _, ...last } = { messageId: '' }] = inbox.messages();
      expect(last).toEqual({ ...LETTER, ...letter, channel: kind, messageId });
      expect([messageId, rid]).toEqual([expect.stringMatching(/^\d{19}$/), '']);
    }
  });

  it('hands errcodes to the table it was given, with the call they came from', async () => {
    const { send } = portRig();
    await send('mini_program');
    await expect(send('mini_program')).rejects.toMatchObject({
      message: 'message_mini_program: 41029',
      answer: { errmsg: expect.stringMatching(/^form id used count reach limit rid: /) },
    });
    await expect(send('subscribe', 'x')).rejects.toMatchObject({ message: 'message_subscribe: 40014' });
  });

  const faults: [FaultEffect, string, number][] = [
    [{ kind: 'refused' }, 'UPSTREAM_UNREACHABLE unsent', 0],
    [{ kind: 'reset', takesEffect: false }, 'UPSTREAM_UNREACHABLE unknown', 0],
    [{ kind: 'reset', takesEffect: true }, 'UPSTREAM_UNREACHABLE unknown', 1],
    [{ kind: 'html', status: 200, takesEffect: true }, 'UPSTREAM_MALFORMED unknown', 1],
    [{ kind: 'html', status: 502, takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'truncated' }, 'UPSTREAM_MALFORMED unknown', 1],
    [{ kind: 'empty', takesEffect: true }, 'UPSTREAM_MALFORMED unknown', 1],
    [{ kind: 'huge', bytes: 65_537, takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'body', text: '{}', takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'body', text: '{"errcode":"0"}', takesEffect: false }, 'UPSTREAM_MALFORMED unknown', 0],
    [{ kind: 'errcode', errcode: -1 }, 'UPSTREAM_ERROR refused', 0],
  ];
  it.each(faults)('%o fails as %s, with %i delivered', async (effect, expected, delivered) => {
    const { send, inbox, inject } = portRig();
    inject(effect);
    expect(await failure(send())).toBe(expected);
    expect(inbox.count()).toBe(delivered);
  });

  it.each<FaultEffect>([
    { kind: 'latency', ms: 3_000 },
    { kind: 'hang', takesEffect: true },
  ])('%o ends by the signal, at once, and leaves no timer', async (effect) => {
    const { clock, abort, send, inbox, inject } = portRig();
    inject(effect);
    const failed = failure(send());
    await settle();
    abort.abort();
    expect(await failed).toBe('UPSTREAM_TIMEOUT unknown');
    expect([clock.pending, inbox.count()]).toEqual([0, 1]);
    expect(await failure(send())).toBe('UPSTREAM_TIMEOUT unsent');
  });
});
