import { describe, expect, test } from 'vitest';
import type { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { Channel } from '../../src/core/messages/message.ts';
import { messageCall, readSent } from '../../src/wechat/messages.ts';
import { CHANNELS, deliveryOf, expectNoSecret, FORM_ID, OPENID, TOKEN } from './support.ts';

const data = { keyword1: { value: '订单"1"', color: '#173177' }, keyword2: { value: 'two' } };
const to = { touser: OPENID, template_id: 'T1' };

describe('messageCall', () => {
  test('mini_program as WeChat documents it', () => {
    expect(messageCall(deliveryOf(CHANNELS.mini_program))).toEqual({
      path: '/cgi-bin/message/wxopen/template/send',
      body: { ...to, page: 'pages/index?a=b', form_id: FORM_ID, data, emphasis_keyword: 'keyword1.DATA' },
    });
  });

  test('subscribe as WeChat documents it, without colors', () => {
    expect(messageCall(deliveryOf(CHANNELS.subscribe))).toEqual({
      path: '/cgi-bin/message/subscribe/send',
      body: {
        ...to,
        page: 'pages/index?a=b',
        data: { keyword1: { value: '订单"1"' }, keyword2: { value: 'two' } },
        miniprogram_state: 'trial',
        lang: 'en_US',
      },
    });
  });

  test('official_account as WeChat documents it', () => {
    expect(messageCall(deliveryOf(CHANNELS.official_account))).toEqual({
      path: '/cgi-bin/message/template/send',
      body: {
        ...to,
        url: 'https://lingpai.test/a?b=c',
        miniprogram: { appid: 'wx0002', pagepath: 'pages/order?id=1' },
        data,
        client_msg_id: 'send-1',
      },
    });
  });

  test('subscription_notice as WeChat documents it, without colors and client_msg_id', () => {
    expect(messageCall(deliveryOf(CHANNELS.subscription_notice, {}, { clientMsgId: 'send-1' }))).toEqual({
      path: '/cgi-bin/message/subscribe/bizsend',
      body: {
        ...to,
        page: 'pages/index?a=b',
        miniprogram: { appid: 'wx0002', pagepath: 'pages/order?id=1' },
        data: { keyword1: { value: '订单"1"' }, keyword2: { value: 'two' } },
      },
    });
  });

  test.each<[Channel]>([
    [{ kind: 'subscription_notice', miniProgramAppId: '', miniProgramPage: '' }],
    [{ kind: 'mini_program', formId: '', emphasisKeyword: '' }],
    [{ kind: 'subscribe', miniProgramState: '', lang: '' }],
    [{ kind: 'official_account', url: '', miniProgramAppId: '', miniProgramPage: '' }],
  ])('what is empty is left out of %o', (channel) => {
    const values = { keyword1: { value: 'one', color: '' } };
    const delivery = deliveryOf(channel, { page: '', data: values }, { formId: '', clientMsgId: '' });
    expect(messageCall(delivery).body).toEqual({ ...to, data: { keyword1: { value: 'one' } } });
  });

  test('a mini program without a page, and an emphasis_keyword in WeChat’s own form', () => {
    const official = { ...CHANNELS.official_account, miniProgramPage: '' };
    expect(messageCall(deliveryOf(official)).body).toMatchObject({ miniprogram: { appid: 'wx0002' } });
    expect(messageCall(deliveryOf(official)).body).not.toHaveProperty('miniprogram.pagepath');
    const emphasized = { ...CHANNELS.mini_program, emphasisKeyword: 'keyword2.DATA' };
    expect(messageCall(deliveryOf(emphasized)).body).toMatchObject({ emphasis_keyword: 'keyword2.DATA' });
  });

  test('a keyword named __proto__ is one like any other', () => {
    const odd = JSON.parse('{"__proto__":{"value":"x","color":""}}');
    const { body } = messageCall(deliveryOf(CHANNELS.subscribe, { data: odd }));
    expect(JSON.stringify(body)).toContain('"data":{"__proto__":{"value":"x"}}');
  });
});

const delivery = deliveryOf(CHANNELS.mini_program);
const read = (body: string, status = 200) => readSent({ status, body, location: '' }, delivery, TOKEN);

/** The error of reading these bytes as the answer to a message. */
function refusal(body: string, status = 200): UpstreamError {
  try {
    read(body, status);
  } catch (error) {
    expectNoSecret(error);
    return error as UpstreamError;
  }
  return expect.fail('it was taken for sent');
}

describe('readSent', () => {
  test.each([
    ['the documented answer', '{"errcode":0,"errmsg":"ok","msgid":200228332}', '200228332'],
    ['a msgid beyond 2^53', '{"errcode":0,"errmsg":"ok","msgid":3456789012345678901}', '3456789012345678901'],
    ['a msgid of 40 digits', `{"errcode":0,"errmsg":"ok","msgid":${'9'.repeat(40)}}`, '9'.repeat(40)],
    ['a msgid as text', '{"errcode":0,"errmsg":"ok","msgid":"3456789012345678901"}', '3456789012345678901'],
    [
      'the documented trailing comma',
      '{\n"errcode": 0,\n"errmsg": "ok",\n"msgid": 3456789012345678901,\n}\n',
      '3456789012345678901',
    ],
    ['a trailing comma after text', '{"msgid":7,"errcode":0,"errmsg":"ok" , }', '7'],
    [
      'another msgid inside a field',
      '{"errcode":0,"errmsg":"ok","msgid":9007199254740993,"x":{"msgid":1}}',
      '9007199254740993',
    ],
    ['no msgid', '{"errcode":0,"errmsg":"ok"}', ''],
    ['a msgid null', '{"errcode":0,"errmsg":"ok","msgid":null}', ''],
    ['a msgid that is no number', '{"errcode":0,"errmsg":"ok","msgid":"x1"}', ''],
    ['a negative msgid', '{"errcode":0,"errmsg":"ok","msgid":-5}', ''],
    ['a msgid in scientific notation', '{"errcode":0,"errmsg":"ok","msgid":1e21}', ''],
    ['a fraction', '{"errcode":0,"errmsg":"ok","msgid":1.5}', ''],
    ['an errmsg that is not text', '{"errcode":0,"errmsg":{},"msgid":1}', '1'],
  ])('takes %s as sent', (_, body, messageId) => {
    expect(read(body)).toEqual({ messageId, rid: '' });
  });

  test('keeps the rid', () => {
    expect(read('{"errcode":0,"errmsg":"ok rid: 1a-2b-3c","msgid":1}')).toEqual({ messageId: '1', rid: '1a-2b-3c' });
  });

  test.each([
    ['an empty body', '', /empty body/],
    ['HTML', `<html>${OPENID}</html>`, /HTML/],
    ['a cut answer', '{"errcode":0,"errmsg":"ok","msgid":34567', /not whole JSON/],
    ['an answer cut after its comma', '{"errcode":0,"errmsg":"ok",', /not whole JSON/],
    ['text', `sorry ${TOKEN}`, /not whole JSON/],
    ['two trailing commas', '{"errcode":0,"msgid":1,,}', /not whole JSON/],
    ['a leading comma', '{,"errcode":0,"msgid":1}', /not whole JSON/],
    ['a comma after the object', '{"errcode":0,"msgid":1},', /not whole JSON/],
    ['a trailing comma in a list', '{"errcode":0,"msgid":1,"x":[1,]}', /not whole JSON/],
    ['a trailing comma within', '{"errcode":0,"x":{"y":1,},"msgid":1}', /not whole JSON/],
    ['single quotes', "{'errcode':0}", /not whole JSON/],
    ['a comment', '{"errcode":0/* ok */}', /not whole JSON/],
    ['two answers', '{"errcode":0}{"errcode":0}', /not whole JSON/],
    ['a msgid with a leading zero', '{"errcode":0,"msgid":007}', /not whole JSON/],
    ['null', 'null', /not an object/],
    ['a list', '[{"errcode":0}]', /not an object/],
    ['an empty object', '{}', /without an errcode/],
    ['a comma alone', '{,}', /without an errcode/],
    ['a msgid alone', '{"msgid":5}', /without an errcode/],
    ['an errcode text', '{"errcode":"0","errmsg":"ok","msgid":5}', /errcode that is not a whole number/],
    ['an errcode null', '{"errcode":null,"msgid":5}', /errcode that is not a whole number/],
    ['an errcode fraction', '{"errcode":0.5,"msgid":5}', /errcode that is not a whole number/],
  ])('does not know what became of the message after %s', (_, body, words) => {
    const error = refusal(body);
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown', recovery: { kind: 'backoff' } });
    expect(error.message).toMatch(words);
  });

  test.each([204, 302, 500, 502])('nor after ok under HTTP %i', (status) => {
    expect(refusal('{"errcode":0,"errmsg":"ok","msgid":1}', status)).toMatchObject({
      reason: 'UPSTREAM_MALFORMED',
      effect: 'unknown',
      message: expect.stringContaining(`HTTP ${status}`),
    });
  });

  test.each([200, 500])('reads an errcode under HTTP %i, with a trailing comma too', (status) => {
    expect(refusal('{"errcode":45103,"errmsg":"api offline rid: 1-2-3",}', status)).toMatchObject({
      reason: 'INTERFACE_RETIRED',
      effect: 'refused',
      answer: { errcode: 45103, errmsg: 'api offline', rid: '1-2-3' },
    });
  });

  test('reads a refusal, and a msgid, beside raw control characters', () => {
    expect(
      refusal('{"errcode":47003,"errmsg":"argument invalid! data.thing1.value\n\tinvalid rid: 1-2-3",}'),
    ).toMatchObject({
      reason: 'DATA_INVALID',
      effect: 'refused',
      answer: { errcode: 47003, errmsg: 'argument invalid! data.thing1.value invalid', rid: '1-2-3' },
    });
    expect(read('{"errcode":0,"errmsg":"ok\u0007","msgid":3456789012345678901}').messageId).toBe('3456789012345678901');
  });

  test('takes the openid, the form_id and the token out of errmsg', () => {
    const errmsg = `no ${OPENID} ${encodeURIComponent(OPENID)} ${FORM_ID} ${TOKEN} rid: 1-2-3`;
    expect(refusal(JSON.stringify({ errcode: 41028, errmsg })).answer).toEqual({
      errcode: 41028,
      errmsg: 'no *** *** *** ***',
      rid: '1-2-3',
    });
  });
});
