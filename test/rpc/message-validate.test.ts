import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { LingpaiError, type Violation } from '../../src/core/kernel/errors.ts';
import {
  CountPermitsRequestSchema,
  DepositPermitsRequestSchema,
  PermitKind,
  type PermitSchema,
  ReviewTemplateRequestSchema,
  SendTemplateRequestSchema,
  SendTemplatesRequestSchema,
} from '../../src/gen/lingpai/v1/message_pb.js';
import {
  validateCountPermits,
  validateDepositPermits,
  validateReviewTemplate,
  validateSendTemplate,
  validateSendTemplates,
} from '../../src/rpc/validate-message.ts';

type Send = MessageInitShape<typeof SendTemplateRequestSchema>;

const NOW = Date.UTC(2026, 0, 15);
/** One character, and two of JavaScript's units. */
const WIDE = '𠮷';
const DATA = { keyword1: { value: 'x' } };
const GOOD: Send = {
  appId: 'wx1',
  toUser: 'openid-1',
  templateId: 'template-1',
  data: DATA,
  channel: { case: 'subscribe', value: {} },
};

function violations(validate: () => void): readonly Violation[] {
  try {
    validate();
    return [];
  } catch (error) {
    if (!(error instanceof LingpaiError) || error.reason !== 'INVALID_REQUEST') throw error;
    return error.violations;
  }
}

/** The fields of GOOD with these changes that break a rule. */
function fields(changes: Send): string[] {
  const request = create(SendTemplateRequestSchema, { ...GOOD, ...changes } as Send);
  return violations(() => validateSendTemplate(request)).map(({ field }) => field);
}

const miniProgram = (value: object): Send => ({ channel: { case: 'miniProgram', value } });
const subscribe = (value: object): Send => ({ channel: { case: 'subscribe', value } });
const notice = (value: object): Send => ({ channel: { case: 'subscriptionNotice', value } });
const official = (value: object): Send => ({ channel: { case: 'officialAccount', value } });
const keywords = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, { value: '' }]));
const letter = (length: number) => 'x'.repeat(length);

describe('a message', () => {
  it.each<[string, Send, string[]]>([
    ['that is good', {}, []],
    ['without an app', { appId: '' }, ['app_id']],
    ['of an app that cannot be', { appId: 'wx 1' }, ['app_id']],
    ['without a user', { toUser: '' }, ['to_user']],
    ['to a user of 128 characters', { toUser: WIDE.repeat(128) }, []],
    ['to a user of 129 characters', { toUser: letter(129) }, ['to_user']],
    ['without a template', { templateId: '' }, ['template_id']],
    ['with a template of 128 characters', { templateId: letter(128) }, []],
    ['with a template of 129 characters', { templateId: letter(129) }, ['template_id']],
    ['with a page of 1024 characters', { page: WIDE.repeat(1024) }, []],
    ['with a page of 1025 characters', { page: letter(1025) }, ['page']],
    ['with a key of 128 characters', { idempotencyKey: WIDE.repeat(128) }, []],
    ['with a key of 129 characters', { idempotencyKey: WIDE.repeat(129) }, ['idempotency_key']],
    ['without keywords', { data: {} }, ['data']],
    ['with 64 keywords', { data: keywords(64) }, []],
    ['with 65 keywords', { data: keywords(65) }, ['data']],
    ['with a keyword of 64 characters', { data: { [WIDE.repeat(64)]: { value: 'x' } } }, []],
    ['with a keyword of 65 characters', { data: { [letter(65)]: { value: 'x' } } }, ['data']],
    ['with a keyword without a name', { data: { '': { value: 'x' } } }, ['data']],
    [
      'with a keyword called __proto__',
      { data: { ['__proto__']: { value: letter(1025) } } },
      ['data["__proto__"].value'],
    ],
    ['with content of 1024 characters', { data: { k: { value: WIDE.repeat(1024) } } }, []],
    ['with content of 1025 characters', { data: { k: { value: letter(1025) } } }, ['data["k"].value']],
    ['with a colour', { data: { k: { value: '', color: '#17Af77' } } }, []],
    ['with a short colour', { data: { k: { value: '', color: '#fff' } } }, ['data["k"].color']],
    ['with a colour by name', { data: { k: { value: '', color: 'red' } } }, ['data["k"].color']],
    ['with a colour and a line break', { data: { k: { value: '', color: '#173177\n' } } }, ['data["k"].color']],
    ['without a channel', { channel: { case: undefined } }, ['channel']],
    ['by form', miniProgram({ formId: letter(128) }), []],
    ['without a keyword', { ...miniProgram({}), data: {} }, []],
    ['by a form of 129 characters', miniProgram({ formId: letter(129) }), ['mini_program.form_id']],
    ['that emphasizes a keyword', miniProgram({ emphasisKeyword: 'keyword1' }), []],
    ["that emphasizes a keyword as WeChat's", miniProgram({ emphasisKeyword: 'keyword1.DATA' }), []],
    ['that emphasizes another', miniProgram({ emphasisKeyword: 'keyword2' }), ['mini_program.emphasis_keyword']],
    ['that emphasizes a property', miniProgram({ emphasisKeyword: 'toString' }), ['mini_program.emphasis_keyword']],
    ['that emphasizes .DATA', miniProgram({ emphasisKeyword: '.DATA' }), ['mini_program.emphasis_keyword']],
    ...['developer', 'trial', 'formal', ''].map((state): [string, Send, string[]] => [
      `with state "${state}"`,
      subscribe({ miniProgramState: state }),
      [],
    ]),
    ['with another state', subscribe({ miniProgramState: 'Formal' }), ['subscribe.mini_program_state']],
    ...['zh_CN', 'en_US', 'zh_HK', 'zh_TW', ''].map((lang): [string, Send, string[]] => [
      `in "${lang}"`,
      subscribe({ lang }),
      [],
    ]),
    ['in another language', subscribe({ lang: 'de_DE' }), ['subscribe.lang']],
    ['that opens a web page', { ...notice({}), page: 'https://a.example/' }, []],
    ['that opens a mini program', notice({ miniProgramAppId: 'wx2', miniProgramPage: letter(1024) }), []],
    [
      'of a mini program that is none',
      notice({ miniProgramAppId: 'a b' }),
      ['subscription_notice.mini_program_app_id'],
    ],
    ['with a page of no mini program', notice({ miniProgramPage: 'a' }), ['subscription_notice.mini_program_page']],
    [
      'with a long page of a mini program',
      notice({ miniProgramAppId: 'wx2', miniProgramPage: letter(1025) }),
      ['subscription_notice.mini_program_page'],
    ],
    ['with an http URL', official({ url: 'http://a' }), []],
    ['with an https URL', official({ url: 'HTTPS://a.example/?q=1#f' }), []],
    ['with a URL of 2048 characters', official({ url: `https://a/${letter(2038)}` }), []],
    ['with a URL of 2049 characters', official({ url: `https://a/${letter(2039)}` }), ['official_account.url']],
    ['with a script', official({ url: 'javascript:alert(1)' }), ['official_account.url']],
    ['with half a URL', official({ url: 'example.com/a' }), ['official_account.url']],
    ['with no host', official({ url: 'https://' }), ['official_account.url']],
    ['with a mini program', official({ miniProgramAppId: 'wx2', miniProgramPage: letter(1024) }), []],
    ['with no app id', official({ miniProgramAppId: 'a b' }), ['official_account.mini_program_app_id']],
    ['with a page of the other channels', { ...official({}), page: 'a' }, ['page']],
    ['with a page alone', official({ miniProgramPage: 'a' }), ['official_account.mini_program_page']],
    [
      'with a page that is too long',
      official({ miniProgramAppId: 'wx2', miniProgramPage: letter(1025) }),
      ['official_account.mini_program_page'],
    ],
  ])('%s', (_, changes, expected) => {
    expect(fields(changes)).toEqual(expected);
  });

  it('hears of everything that is wrong at once', () => {
    const everything = create(SendTemplateRequestSchema, {
      page: letter(1025),
      idempotencyKey: letter(129),
      data: { k1: { value: letter(1025), color: 'x' }, [letter(65)]: {} },
      channel: { case: 'miniProgram', value: { formId: letter(129), emphasisKeyword: 'x' } },
    });
    const found = violations(() => validateSendTemplate(everything)).map(({ field }) => field);
    expect(found.sort()).toEqual(
      [
        'app_id',
        'to_user',
        'template_id',
        'page',
        'data["k1"].value',
        'data["k1"].color',
        'data',
        'idempotency_key',
        'mini_program.form_id',
        'mini_program.emphasis_keyword',
      ].sort(),
    );
  });

  it('is not repeated in what is said about it', () => {
    const hush = 'hush'.repeat(600);
    const request = create(SendTemplateRequestSchema, {
      ...GOOD,
      toUser: hush,
      templateId: hush,
      page: hush,
      data: { [hush]: { value: hush, color: hush }, 'hush hush': { value: hush, color: hush } },
      channel: { case: 'officialAccount', value: { url: hush, miniProgramAppId: hush, miniProgramPage: hush } },
    } as Send);
    expect(JSON.stringify(violations(() => validateSendTemplate(request)))).not.toContain('hush');
  });

  it('with a thousand faults has no more of them named than a status has room for', () => {
    const data = Object.fromEntries(
      Array.from({ length: 64 }, (_, i) => [`k${i}`, { value: letter(1025), color: 'x' }]),
    );
    const found = violations(() => validateSendTemplate(create(SendTemplateRequestSchema, { ...GOOD, data } as Send)));
    expect(found.length).toBeGreaterThan(40);
    expect(found.length).toBeLessThan(128);
    expect(JSON.stringify(found).length).toBeLessThan(6_000);
  });

  it('with long names has fewer of them named', () => {
    const data = Object.fromEntries(
      Array.from({ length: 60 }, (_, i) => [`${letter(60)}${i}`, { value: letter(1025) }]),
    );
    const found = violations(() => validateSendTemplate(create(SendTemplateRequestSchema, { ...GOOD, data } as Send)));
    const words = found.map(({ field, description }) => field + description).join('');
    expect(words.length).toBeGreaterThan(3_000);
    expect(words.length).toBeLessThan(4_000);
  });
});

describe('a message of a stream', () => {
  const check = (correlationId: string, message?: Send) =>
    violations(() =>
      validateSendTemplates(create(SendTemplatesRequestSchema, { correlationId, message } as never)),
    ).map(({ field }) => field);

  it.each<[string, Send | undefined, string[]]>([
    ['', GOOD, []],
    [WIDE.repeat(128), GOOD, []],
    [letter(129), { ...GOOD, toUser: '' } as Send, ['correlation_id', 'to_user']],
    ['c', undefined, ['message']],
  ])('%s', (correlationId, message, expected) => {
    expect(check(correlationId, message)).toEqual(expected);
  });
});

type PermitInit = MessageInitShape<typeof PermitSchema>;

describe('a permit', () => {
  const FORM: PermitInit = { toUser: 'openid-1', kind: PermitKind.FORM_ID, value: 'f1' };
  const CONSENT: PermitInit = { toUser: 'openid-1', kind: PermitKind.CONSENT, templateId: 't1' };
  const at = (ms: number) => timestampFromMs(NOW + ms);

  it.each<[string, PermitInit, string[]]>([
    ['a form', FORM, []],
    ['a payment', { ...FORM, kind: PermitKind.PREPAY_ID } as PermitInit, []],
    ['a consent', CONSENT, []],
    ['a consent with a name', { ...CONSENT, value: 'c1' } as PermitInit, []],
    ['of nobody', { ...FORM, toUser: '' } as PermitInit, ['to_user']],
    ['of a user of 129 characters', { ...FORM, toUser: letter(129) } as PermitInit, ['to_user']],
    ['of no kind', { ...FORM, kind: PermitKind.UNSPECIFIED } as PermitInit, ['kind']],
    ['of a kind of tomorrow', { ...FORM, kind: 9 as PermitKind } as PermitInit, ['kind']],
    ['a form without its id', { ...FORM, value: '' } as PermitInit, ['value']],
    ['a payment without its id', { ...FORM, kind: PermitKind.PREPAY_ID, value: '' } as PermitInit, ['value']],
    ['with an id of 129 characters', { ...FORM, value: letter(129) } as PermitInit, ['value']],
    ['a form with a template', { ...FORM, templateId: 't1' } as PermitInit, ['template_id']],
    ['a consent without a template', { ...CONSENT, templateId: '' } as PermitInit, ['template_id']],
    ['of a template of 129 characters', { ...CONSENT, templateId: letter(129) } as PermitInit, ['template_id']],
    ['of long ago', { ...FORM, collectTime: at(-1e12) } as PermitInit, []],
    ['of a clock that is ahead', { ...FORM, collectTime: at(300_000) } as PermitInit, []],
    ['of the future', { ...FORM, collectTime: at(300_001) } as PermitInit, ['collect_time']],
  ])('%s', (_, permit, expected) => {
    const request = create(DepositPermitsRequestSchema, { appId: 'wx1', permits: [FORM, permit] });
    const found = violations(() => validateDepositPermits(request, NOW)).map(({ field }) => field);
    expect(found).toEqual(expected.map((field) => `permits[1].${field}`));
  });

  it.each([
    [0, ['permits']],
    [1, []],
    [1000, []],
    [1001, ['permits']],
  ])('%i of them', (count, expected) => {
    const request = create(DepositPermitsRequestSchema, { appId: 'wx1', permits: Array(count).fill(FORM) });
    expect(violations(() => validateDepositPermits(request, NOW)).map(({ field }) => field)).toEqual(expected);
  });

  it.each([
    ['wx1', '', []],
    ['wx1', letter(128), []],
    ['', letter(129), ['app_id', 'to_user']],
  ])('counted of app "%s" and user "%s"', (appId, toUser, expected) => {
    const request = create(CountPermitsRequestSchema, { appId, toUser });
    expect(violations(() => validateCountPermits(request)).map(({ field }) => field)).toEqual(expected);
  });
});

describe('a template', () => {
  type Init = MessageInitShape<typeof ReviewTemplateRequestSchema>;
  const keyword = { name: WIDE.repeat(64), example: WIDE.repeat(256) };

  it.each<[string, Init, string[]]>([
    ['that is good', { title: WIDE.repeat(64), keywords: Array(64).fill(keyword) }, []],
    ['without a title', {}, ['title']],
    ['with a title of 65 characters', { title: letter(65) }, ['title']],
    ['with 65 keywords', { title: 'x', keywords: Array(65).fill(keyword) }, ['keywords']],
    ['with a long keyword', { title: 'x', keywords: [keyword, { name: letter(65) }] }, ['keywords[1].name']],
    ['with a long example', { title: 'x', keywords: [{ name: 'x', example: letter(257) }] }, ['keywords[0].example']],
    ['in a library of 10000', { title: 'x', existingTitles: Array(10_000).fill('x') }, []],
    ['with a long title in the library', { title: 'x', existingTitles: ['x', letter(65)] }, ['existing_titles[1]']],
    [
      'in a library of 10001, of which no more is looked at',
      { title: 'x', existingTitles: [...Array(10_000).fill('x'), letter(65)] },
      ['existing_titles'],
    ],
    ['in a library of 10001', { title: 'x', existingTitles: Array(10_001).fill('x') }, ['existing_titles']],
  ])('%s', (_, init, expected) => {
    const request = create(ReviewTemplateRequestSchema, init);
    expect(violations(() => validateReviewTemplate(request)).map(({ field }) => field)).toEqual(expected);
  });
});
