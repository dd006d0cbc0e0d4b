import { describe, expect, it } from 'vitest';
import type { SandboxApp } from '../../src/sandbox/app.ts';
import type { Letter, MessageKind } from '../../src/sandbox/message-call.ts';
import { messageKinds } from '../../src/sandbox/message-call.ts';
import { appId, LETTER, rig, secret } from './support.ts';

const second = 1_000;
const minute = 60 * second;
const day = 24 * 60 * minute;

/** A rig whose mini program's template messages are not retired, whose users agree to all, and short ways to its messages. */
function mailRig(settings: Partial<SandboxApp> = {}) {
  const base = rig({ retired: false, unlimitedConsent: true, ...settings });
  const { wechat } = base;
  const { permits, inbox } = wechat.messages(appId);
  const addForm = (formId: string, change: { kind?: 'prepay_id'; toUser?: string; ageMs?: number } = {}) =>
    permits.addForm({
      formId,
      toUser: change.toUser ?? LETTER.toUser,
      kind: change.kind ?? 'form_id',
      collectTime: wechat.now() - (change.ageMs ?? 0),
    });
  const form = (formId: string, change: Partial<Letter> = {}) =>
    base.send('message_mini_program', { formId, ...change });
  return { ...base, permits, inbox, addForm, form };
}

describe('every message call', () => {
  /** A letter that this kind of call takes, once its form is there. */
  const good = (kind: MessageKind): Partial<Letter> => (kind === 'message_mini_program' ? { formId: 'f' } : {});

  it.each(messageKinds)('%s is answered with an id beyond 2^53 and arrives once', (kind) => {
    const { wechat, text, token, addForm, inbox } = mailRig();
    addForm('f');
    addForm('g');
    const ids = ['f', 'g'].map((formId) => {
      const letter = { ...LETTER, ...good(kind), formId };
      const answer = text({ kind, token: token('stable'), letter });
      expect(answer).toMatch(/^\{"errcode":0,"errmsg":"ok","msgid":\d{19}\}$/);
      return /\d{19}/.exec(answer)?.[0] ?? '';
    });
    expect(Number.isSafeInteger(Number(ids[0]))).toBe(false);
    expect(ids[0]).not.toBe(ids[1]);
    expect(inbox.messages().map(({ messageId }) => messageId)).toEqual(ids.toReversed());
    expect(wechat.counts(appId)).toMatchObject({ [kind]: 2, delivered: 2 });
  });

  it.each(messageKinds)('%s is refused with a token that the probe refuses', async (kind) => {
    const { clock, wechat, token, addForm, send, inbox } = mailRig();
    addForm('f');
    expect(send(kind, good(kind), '')).toBe(41001);
    expect(send(kind, good(kind), '92_nobody')).toBe(40014);
    const killed = token('classic');
    wechat.kill(appId, { issuer: 'classic', which: 'current' });
    expect(send(kind, good(kind), killed)).toBe(40001);
    const old = token('stable');
    await clock.advance(120 * minute);
    expect(send(kind, good(kind), old)).toBe(42001);
    const fresh = token('stable');
    wechat.changeApp(appId, { condition: 'account_closed' });
    expect(send(kind, good(kind), fresh)).toBe(50004);
    expect(inbox.count()).toBe(0);
    wechat.changeApp(appId, { condition: 'normal' });
    expect(send(kind, good(kind), fresh)).toBe(0);
  });

  it.each([
    ['any', [0, 0, 0, 0]],
    ['mini_program', [0, 0, 48001, 48001]],
    ['official_account', [48001, 48001, 0, 0]],
  ] as const)('account kind %s', (accountKind, errcodes) => {
    const { addForm, send } = mailRig({ accountKind });
    addForm('f');
    expect(messageKinds.map((kind) => send(kind, good(kind)))).toEqual(errcodes);
  });

  it('only those of mini programs are retired, unless the app says otherwise', () => {
    const { addForm, send, permits } = mailRig({ retired: true });
    addForm('f');
    expect(messageKinds.map((kind) => send(kind, good(kind)))).toEqual([45103, 0, 0, 0]);
    expect(permits.carried('f')).toBe(0);
    expect(rig().wechat.app(appId).retired).toBe(true);
  });

  const wrong: [number, Partial<SandboxApp>, Partial<Letter>][] = [
    [40003, {}, { toUser: '' }],
    [40003, { users: ['oOther'] }, {}],
    [40037, {}, { templateId: '' }],
    [40037, { templates: ['T2'] }, {}],
    [47003, {}, { data: {} }],
    [47003, {}, { data: { thing1: { value: '', color: '' } } }],
  ];
  it.each(wrong)('%i with %o and %o, at the cost of nothing', (errcode, settings, change) => {
    const { addForm, send, permits, inbox } = mailRig({ ...settings, messageQuotas: { perDay: 1, perMinute: 1 } });
    addForm('f');
    for (const kind of messageKinds) expect(send(kind, { ...good(kind), ...change })).toBe(errcode);
    expect([permits.carried('f'), inbox.count()]).toEqual([0, 0]);
  });

  it('takes what is on its lists', () => {
    const { addForm, send } = mailRig({ users: ['oUser1'], templates: ['T1'], pages: ['pages/a'] });
    addForm('f');
    const page = (kind: MessageKind) =>
      kind === 'message_subscription_notice'
        ? { miniProgramAppId: 'wx2', miniProgramPage: 'pages/a?x=1' }
        : { page: 'pages/a?x=1' };
    expect(messageKinds.map((kind) => send(kind, { ...good(kind), ...page(kind) }))).toEqual([0, 0, 0, 0]);
  });

  it('41030 for a page of a mini program that begins with a slash or is not on its list', () => {
    const { addForm, send, wechat } = mailRig();
    addForm('f');
    const kinds = ['message_mini_program', 'message_subscribe', 'message_official_account'] as const;
    const withPage = (page: string) => kinds.map((kind) => send(kind, { ...good(kind), page }));
    expect(withPage('/pages/a')).toEqual([41030, 41030, 0]);
    wechat.changeApp(appId, { pages: ['pages/a'] });
    expect(withPage('pages/b')).toEqual([41030, 41030, 0]);
    expect(withPage('')).toEqual([0, 0, 0]);
  });

  it('a subscription notice opens a web page, or what wins, a mini program: 40165, 41030', () => {
    const { send, wechat } = mailRig();
    const notice = (change: Partial<Letter>) => send('message_subscription_notice', change);
    const pages = ['', 'https://a.example/b?c', 'HTTP://a.example', 'pages/a', '/a', 'javascript:1', 'https://'];
    expect(pages.map((page) => notice({ page }))).toEqual([0, 0, 0, 40165, 40165, 40165, 40165]);
    const wx2 = { miniProgramAppId: 'wx2', page: 'pages/a' };
    expect(['', 'pages/a', '/pages/a'].map((page) => notice({ ...wx2, miniProgramPage: page }))).toEqual([0, 0, 41030]);
    wechat.changeApp(appId, { pages: ['pages/a'] });
    expect(['', 'pages/a?b', 'pages/b'].map((page) => notice({ ...wx2, miniProgramPage: page }))).toEqual([
      0, 0, 41030,
    ]);
  });

  it('a keyword of kind thing has at most 20 characters in a subscription message', () => {
    const { addForm, send, text, token } = mailRig();
    addForm('f');
    const withThing = (value: string) => ({ data: { thing1: { value, color: '' } } });
    expect(messageKinds.map((kind) => send(kind, { ...good(kind), ...withThing('茶'.repeat(21)) }))).toEqual([
      0, 47003, 0, 47003,
    ]);
    expect(send('message_subscribe', withThing('🍵'.repeat(20)))).toBe(0);
    const letter = { ...LETTER, ...withThing('') };
    expect(text({ kind: 'message_subscribe', token: token('stable'), letter })).toMatch(
      /"argument invalid! data.thing1.value invalid rid: /,
    );
  });

  it.each([
    ['thing1', ['茶', '🍵'.repeat(20), 'a b'], ['a\nb', 'a\rb', '茶'.repeat(21)]],
    ['number2', ['0', '3.14', '1'.repeat(32)], ['1'.repeat(33), 'x', '1,000', '1.']],
    ['letter1', ['abcXYZ'], ['a1', '茶', 'a'.repeat(33)]],
    ['symbol1', ['!?', '——'], ['a', '1', '!!!!!!']],
    ['character_string1', ['No.2026-01/3', 'x'.repeat(32)], ['第1号', 'x'.repeat(33)]],
    ['time1', ['15:01', '2019年10月1日 15:01', '15:01~16:30'], ['3 pm', '2019-10-01']],
    ['date1', ['2019年10月1日', '2019年10月1日 15:01', '2019年10月1日~2019年10月3日'], ['soon', '10/1/2019']],
    ['amount1', ['¥100', '￥100.50元', '100元', '3'], ['100 dollars', '1'.repeat(11), '元']],
    ['phone_number1', ['+86-0766-66888866'], ['call me', '1'.repeat(18)]],
    ['car_number1', ['粤A8Z888挂'], ['粤A8Z888888', '粤A 8']],
    ['name1', ['张三', 'John Smith', '张'.repeat(10), 'x'.repeat(20)], ['张'.repeat(11), 'x'.repeat(21), 'R2D2']],
    ['phrase1', ['已发货'], ['已发货已发货', 'sent']],
    ['enum1', ['whatever 1'], []],
    ['k', ['what\never'], []],
  ] as const)('a keyword %s of a subscription message takes %j, and 47003 for %j', (name, taken, refused) => {
    const { send } = mailRig();
    const withValue = (value: string) => send('message_subscribe', { data: { [name]: { value, color: '' } } });
    for (const value of taken) expect([value, withValue(value)]).toEqual([value, 0]);
    for (const value of refused) expect([value, withValue(value)]).toEqual([value, 47003]);
  });

  it.each(messageKinds)(
    '%s has a quota of its own for the day and the minute, which refusals do not touch',
    async (kind) => {
      // The clock begins at 12:00 in Shanghai.
      const { clock, addForm, send } = mailRig({ messageQuotas: { perDay: 3, perMinute: 2 } });
      for (let i = 0; i < 6; i++) addForm(`f${i}`);
      let sent = 0;
      const next = () => {
        const errcode = send(kind, kind === 'message_mini_program' ? { formId: `f${sent}` } : {});
        if (errcode === 0) sent++;
        return errcode;
      };
      expect(send(kind, { toUser: '' })).toBe(40003);
      expect([next(), next(), next()]).toEqual([0, 0, 45011]);
      await clock.advance(minute);
      expect([next(), next()]).toEqual([0, 45009]);
      const other = messageKinds.find((each) => each !== kind && each !== 'message_mini_program') ?? kind;
      expect(send(other)).toBe(0);
      await clock.advance(12 * 60 * minute - minute - 1);
      expect(next()).toBe(45009);
      await clock.advance(1);
      expect(next()).toBe(0);
    },
  );

  it('answers with the comma of the documented example where it is told to', () => {
    const { text, token } = mailRig({ trailingComma: true });
    expect(text({ kind: 'message_subscribe', token: token('stable'), letter: LETTER })).toMatch(/"msgid":\d{19},\}$/);
  });
});

describe('forms', () => {
  it('a form_id carries 1 message and a prepay_id 3', () => {
    const { addForm, form, permits } = mailRig();
    addForm('f');
    addForm('p', { kind: 'prepay_id' });
    expect([form('f'), form('f')]).toEqual([0, 41029]);
    expect([form('p'), form('p'), form('p'), form('p')]).toEqual([0, 0, 0, 41029]);
    expect([permits.carried('f'), permits.carried('p')]).toEqual([1, 3]);
  });

  it('41028 for none, an unknown one and one of another user or app', () => {
    const { wechat, addForm, form, permits } = mailRig();
    addForm('f', { toUser: 'oUser2' });
    wechat.setApp({ appId: 'wxother', secret });
    wechat.messages('wxother').permits.addForm({ formId: 'g', toUser: 'oUser1', kind: 'form_id', collectTime: 0 });
    expect([form(''), form('unknown'), form('f'), form('g')]).toEqual([41028, 41028, 41028, 41028]);
    expect([permits.carried('f'), form('f', { toUser: 'oUser2' })]).toEqual([0, 0]);
  });

  it('41028 once 7 days have passed, to the millisecond', async () => {
    const { clock, addForm, form } = mailRig();
    addForm('p', { kind: 'prepay_id' });
    addForm('old', { ageMs: 7 * day });
    expect(form('old')).toBe(41028);
    await clock.advance(7 * day - 1);
    expect(form('p')).toBe(0);
    await clock.advance(1);
    expect(form('p')).toBe(41028);
  });
});

describe('consents', () => {
  it.each(['message_subscribe', 'message_subscription_notice'] as const)(
    '%s: 43101 without one; each is for one message of one template to one user',
    (kind) => {
      const { wechat, send, permits } = mailRig({ unlimitedConsent: false });
      const subscribe = (change: Partial<Letter> = {}) => send(kind, change);
      expect(subscribe()).toBe(43101);
      expect(permits.addConsents('oUser1', 'T1', 2)).toBe(2);
      expect(permits.addConsents('oUser1', 'T1')).toBe(3);
      expect([subscribe({ toUser: 'oUser2' }), subscribe({ templateId: 'T2' })]).toEqual([43101, 43101]);
      expect([subscribe(), subscribe(), subscribe(), subscribe()]).toEqual([0, 0, 0, 43101]);
      wechat.changeApp(appId, { unlimitedConsent: true });
      expect(subscribe()).toBe(0);
    },
  );
});

describe('client_msg_id', () => {
  const official = (rigged: ReturnType<typeof mailRig>, change: Partial<Letter> = {}) => {
    const letter = { ...LETTER, clientMsgId: 'c1', ...change };
    return rigged.text({ kind: 'message_official_account', token: rigged.token('stable'), letter });
  };

  it('is sent to a user once in 10 minutes, and answered with the same id meanwhile', async () => {
    const rigged = mailRig({ messageQuotas: { perDay: 2, perMinute: 2 } });
    const { clock, wechat, inbox } = rigged;
    const first = official(rigged);
    await clock.advance(10 * minute - 1);
    expect(official(rigged)).toBe(first);
    expect(inbox.count()).toBe(1);
    await clock.advance(1);
    expect(official(rigged)).toMatch(/"errmsg":"ok"/);
    expect(inbox.messages().map(({ clientMsgId }) => clientMsgId)).toEqual(['c1', 'c1']);
    expect(wechat.counts(appId)).toMatchObject({ message_official_account: 3, delivered: 2 });
  });

  it('of another user, or none, is another message', () => {
    const rigged = mailRig();
    const answers = [{}, { toUser: 'oUser2' }, { clientMsgId: '' }, { clientMsgId: '' }].map((change) =>
      official(rigged, change),
    );
    expect(new Set(answers).size).toBe(4);
    expect(rigged.inbox.count('oUser1')).toBe(3);
  });

  it('means nothing to the other calls', () => {
    const { send, inbox } = mailRig();
    send('message_subscribe', { clientMsgId: 'c1' });
    send('message_subscribe', { clientMsgId: 'c1' });
    expect(inbox.count()).toBe(2);
  });
});

describe('the inbox', () => {
  it('keeps what came, by whom, and forgets it when it is told to', () => {
    const { wechat, addForm, send, inbox } = mailRig();
    addForm('f');
    send('message_mini_program', { formId: 'f', page: 'pages/a', emphasisKeyword: 'thing1.DATA' });
    send('message_subscribe', { toUser: 'oUser2', lang: 'en_US' });
    expect(inbox.messages()).toEqual([
      {
        ...LETTER,
        toUser: 'oUser2',
        lang: 'en_US',
        channel: 'subscribe',
        time: wechat.now(),
        messageId: expect.stringMatching(/^\d{19}$/),
      },
      {
        ...LETTER,
        formId: 'f',
        page: 'pages/a',
        emphasisKeyword: 'thing1.DATA',
        channel: 'mini_program',
        time: wechat.now(),
        messageId: expect.stringMatching(/^\d{19}$/),
      },
    ]);
    expect(inbox.messages('oUser2')).toHaveLength(1);
    expect([inbox.count(), inbox.count('oUser1'), inbox.count('oNobody')]).toEqual([2, 1, 0]);
    inbox.clear();
    expect([inbox.messages(), inbox.count(), inbox.count('oUser1')]).toEqual([[], 0, 0]);
  });

  it('keeps no more than a million characters, and always the last message', () => {
    const { send, token, inbox } = mailRig();
    const bearer = token('stable');
    const data = { thing1: { value: 'Tea', color: '' } };
    for (let i = 0; i < 20; i++) send('message_subscribe', { page: `p${i}${'x'.repeat(100_000)}`, data }, bearer);
    expect(inbox.messages()).toHaveLength(9);
    send('message_subscribe', { page: 'x'.repeat(2_000_000) }, bearer);
    expect(inbox.messages()).toHaveLength(1);
    send('message_subscribe', {}, bearer);
    expect(inbox.messages()).toHaveLength(1);
    expect(inbox.count()).toBe(22);
  });

  it('keeps the last 1000 messages and counts all', () => {
    const { send, token, inbox } = mailRig();
    const bearer = token('stable');
    for (let i = 0; i < 2_500; i++) send('message_subscribe', { toUser: `o${i % 5}`, page: `p${i}` }, bearer);
    expect(inbox.messages().map(({ page }) => page)).toEqual(Array.from({ length: 1_000 }, (_, i) => `p${2_499 - i}`));
    expect(inbox.count()).toBe(2_500);
    expect([...inbox.perUser]).toEqual(['o0', 'o1', 'o2', 'o3', 'o4'].map((user) => [user, 500]));
  });
});

describe('faults', () => {
  it.each([
    [{ kind: 'reset', takesEffect: true }, 1],
    [{ kind: 'reset', takesEffect: false }, 0],
    [{ kind: 'truncated' }, 1],
    [{ kind: 'latency', ms: 5 }, 1],
    [{ kind: 'errcode', errcode: -1 }, 0],
  ] as const)('%o: %i delivered', (effect, delivered) => {
    const { wechat, token, inbox } = mailRig();
    const bearer = token('stable');
    wechat.faults.inject({ effect, calls: ['message_subscribe'], appId, count: 1 });
    wechat.receive({ kind: 'message_official_account', token: bearer, letter: LETTER });
    wechat.receive({ kind: 'message_subscribe', token: bearer, letter: LETTER });
    expect(inbox.messages().filter(({ channel }) => channel === 'subscribe')).toHaveLength(delivered);
    expect(wechat.calls.at(-1)).toMatchObject({ kind: 'message_subscribe', appId, fault: effect.kind });
    expect(wechat.faults.active).toEqual([]);
  });

  it('the call log has no openid, no form_id and no content', () => {
    const { wechat, addForm, form } = mailRig();
    addForm('form-of-a-user');
    form('form-of-a-user');
    const text = JSON.stringify(wechat.calls);
    for (const hidden of ['form-of-a-user', LETTER.toUser, 'Tea']) expect(text).not.toContain(hidden);
  });
});
