import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { Violation } from '../core/kernel/errors.ts';
import { MAX_LENGTH } from '../core/review/review.ts';
import {
  type CountPermitsRequest,
  type DepositPermitsRequest,
  type MiniProgramChannel,
  type OfficialAccountChannel,
  type Permit,
  PermitKind,
  type ReviewTemplateRequest,
  type SendTemplateRequest,
  type SendTemplatesRequest,
  type SubscribeChannel,
  type SubscriptionNoticeChannel,
  type TemplateValue,
} from '../gen/lingpai/v1/message_pb.js';
import { appId, reject } from './validate.ts';

const MAX_ID_LENGTH = 128;
const MAX_PAGE_LENGTH = 1024;
const MAX_URL_LENGTH = 2048;
const MAX_KEYWORDS = 64;
const MAX_NAME_LENGTH = 64;
const MAX_VALUE_LENGTH = 1024;
const MAX_PERMITS = 1000;
const MAX_EXAMPLE_LENGTH = 256;
const MAX_TITLES = 10_000;
/** As the listeners have it. */
const MAX_MESSAGE_BYTES = 1024 * 1024;
const MESSAGE = { bytes: MAX_MESSAGE_BYTES, fields: 1_000 } as const;
/** What a request may be before it is decoded: what keeps the rules below has far fewer fields. */
export const MESSAGE_LIMITS = {
  sendTemplate: MESSAGE,
  sendTemplates: MESSAGE,
  depositPermits: { bytes: MAX_MESSAGE_BYTES, fields: 2 * MAX_PERMITS },
  reviewTemplate: { bytes: MAX_MESSAGE_BYTES, fields: 2 * MAX_TITLES },
} as const;
/** How far a caller's clock may be ahead of ours. */
const CLOCK_TOLERANCE_MS = 5 * 60_000;

const COLOR = /^#[0-9A-Fa-f]{6}$/;
const STATES = ['developer', 'trial', 'formal'];
const LANGS = ['zh_CN', 'en_US', 'zh_HK', 'zh_TW'];
/** Any text can be a keyword: only what looks like one of WeChat's is repeated. */
const NAMEABLE = /^[A-Za-z0-9_]{1,64}$/;
/** With what WeChat may want a keyword to end that is to be emphasized. */
const SUFFIX = '.DATA';

const NO_PAGE = {
  field: 'page',
  description: 'is not allowed with official_account: set official_account.url or mini_program_page',
};

/** Throws INVALID_REQUEST unless the message keeps the rules in the comments of SendTemplateRequest. */
export function validateSendTemplate(request: SendTemplateRequest): void {
  reject(sendTemplate(request));
}

/** Throws INVALID_REQUEST unless the request keeps the rules in the comments of SendTemplatesRequest. */
export function validateSendTemplates(
  request: SendTemplatesRequest,
): asserts request is SendTemplatesRequest & { message: SendTemplateRequest } {
  const { correlationId, message } = request;
  reject([
    ...text('correlation_id', correlationId, { max: MAX_ID_LENGTH }),
    ...(message ? sendTemplate(message) : [{ field: 'message', description: 'is required' }]),
  ]);
}

/** Throws INVALID_REQUEST unless the request keeps the rules of DepositPermitsRequest. `now`: the wall-clock time. */
export function validateDepositPermits({ appId: id, permits }: DepositPermitsRequest, now: number): void {
  reject([
    ...appId('app_id', id),
    ...count('permits', permits.length, { min: 1, max: MAX_PERMITS }),
    ...(permits.length > MAX_PERMITS
      ? []
      : permits.flatMap((each, index) => permit(each, now).map((wrong) => within(`permits[${index}]`, wrong)))),
  ]);
}

/** Throws INVALID_REQUEST unless the request keeps the rules of CountPermitsRequest. */
export function validateCountPermits({ appId: id, toUser }: CountPermitsRequest): void {
  reject([...appId('app_id', id), ...text('to_user', toUser, { max: MAX_ID_LENGTH })]);
}

/**
 * Throws INVALID_REQUEST unless the request keeps the rules of ReviewTemplateRequest, but for those of folded texts, which
 * the review sees to.
 */
export function validateReviewTemplate({ title, keywords, existingTitles }: ReviewTemplateRequest): void {
  reject([
    ...text('title', title, { min: 1, max: MAX_LENGTH }),
    ...count('keywords', keywords.length, { max: MAX_KEYWORDS }),
    ...count('existing_titles', existingTitles.length, { max: MAX_TITLES }),
    ...existingTitles
      .slice(0, MAX_TITLES)
      .flatMap((each, index) => text(`existing_titles[${index}]`, each, { max: MAX_LENGTH })),
    ...keywords
      .slice(0, MAX_KEYWORDS)
      .flatMap(({ name, example }, index) => [
        ...text(`keywords[${index}].name`, name, { max: MAX_LENGTH }),
        ...text(`keywords[${index}].example`, example, { max: MAX_EXAMPLE_LENGTH }),
      ]),
  ]);
}

function sendTemplate(request: SendTemplateRequest): Violation[] {
  const { appId: id, toUser, templateId, page, data, idempotencyKey } = request;
  return [
    ...appId('app_id', id),
    ...text('to_user', toUser, { min: 1, max: MAX_ID_LENGTH }),
    ...text('template_id', templateId, { min: 1, max: MAX_ID_LENGTH }),
    ...text('page', page, { max: MAX_PAGE_LENGTH }),
    ...keywords(data, request.channel.case === 'miniProgram' ? 0 : 1),
    ...text('idempotency_key', idempotencyKey, { max: MAX_ID_LENGTH }),
    ...channel(request),
  ];
}

function keywords(data: SendTemplateRequest['data'], min: number): Violation[] {
  const entries = Object.entries(data);
  const wrongCount = count('data', entries.length, { min, max: MAX_KEYWORDS });
  return [...wrongCount, ...entries.slice(0, MAX_KEYWORDS).flatMap(([name, value]) => keyword(name, value))];
}

function keyword(name: string, { value, color }: TemplateValue): Violation[] {
  const field = NAMEABLE.test(name) ? `data["${name}"]` : 'data';
  const length = characters(name);
  const wrongName = {
    field,
    description: `has a keyword of ${length} characters: it must have 1 to ${MAX_NAME_LENGTH}`,
  };
  const wrongColor = { field: `${field}.color`, description: 'must be #RRGGBB, such as #173177, or empty' };
  return [
    ...(length >= 1 && length <= MAX_NAME_LENGTH ? [] : [wrongName]),
    ...text(`${field}.value`, value, { max: MAX_VALUE_LENGTH }),
    ...(color === '' || COLOR.test(color) ? [] : [wrongColor]),
  ];
}

function channel({ channel, data, page }: SendTemplateRequest): Violation[] {
  switch (channel.case) {
    case 'miniProgram':
      return miniProgram(channel.value, data).map((wrong) => within('mini_program', wrong));
    case 'subscribe':
      return subscribe(channel.value).map((wrong) => within('subscribe', wrong));
    case 'officialAccount':
      return [
        ...(page === '' ? [] : [NO_PAGE]),
        ...officialAccount(channel.value).map((wrong) => within('official_account', wrong)),
      ];
    case 'subscriptionNotice':
      return miniProgramToOpen(channel.value).map((wrong) => within('subscription_notice', wrong));
    case undefined:
      return [
        {
          field: 'channel',
          description: 'is required: set mini_program, subscribe, official_account or subscription_notice',
        },
      ];
  }
}

function miniProgram({ formId, emphasisKeyword }: MiniProgramChannel, data: SendTemplateRequest['data']): Violation[] {
  const name = emphasisKeyword.endsWith(SUFFIX) ? emphasisKeyword.slice(0, -SUFFIX.length) : emphasisKeyword;
  const isThere = emphasisKeyword === '' || Object.hasOwn(data, name);
  return [
    ...text('form_id', formId, { max: MAX_ID_LENGTH }),
    ...(isThere ? [] : [{ field: 'emphasis_keyword', description: 'must be one of the keywords in data' }]),
  ];
}

function subscribe({ miniProgramState, lang }: SubscribeChannel): Violation[] {
  return [...oneOf('mini_program_state', miniProgramState, STATES), ...oneOf('lang', lang, LANGS)];
}

function officialAccount({ url, ...opened }: OfficialAccountChannel): Violation[] {
  const wrongUrl = { field: 'url', description: 'must be an http:// or https:// URL' };
  return [
    ...text('url', url, { max: MAX_URL_LENGTH }),
    ...(url === '' || (/^https?:\/\//i.test(url) && URL.canParse(url)) ? [] : [wrongUrl]),
    ...miniProgramToOpen(opened),
  ];
}

function miniProgramToOpen({
  miniProgramAppId,
  miniProgramPage,
}: Pick<SubscriptionNoticeChannel, 'miniProgramAppId' | 'miniProgramPage'>): Violation[] {
  const loose = { field: 'mini_program_page', description: 'is allowed only with mini_program_app_id' };
  return [
    ...(miniProgramAppId === '' ? [] : appId('mini_program_app_id', miniProgramAppId)),
    ...text('mini_program_page', miniProgramPage, { max: MAX_PAGE_LENGTH }),
    ...(miniProgramPage !== '' && miniProgramAppId === '' ? [loose] : []),
  ];
}

function permit({ toUser, kind, value, templateId, collectTime }: Permit, now: number): Violation[] {
  const isConsent = kind === PermitKind.CONSENT;
  const isKnown = isConsent || kind === PermitKind.FORM_ID || kind === PermitKind.PREPAY_ID;
  const isFuture = collectTime !== undefined && timestampMs(collectTime) > now + CLOCK_TOLERANCE_MS;
  const least = (required: boolean) => ({ min: required ? 1 : 0, max: MAX_ID_LENGTH });
  return [
    ...text('to_user', toUser, least(true)),
    ...(isKnown ? [] : [{ field: 'kind', description: 'is required: FORM_ID, PREPAY_ID or CONSENT' }]),
    ...text('value', value, least(isKnown && !isConsent)),
    ...(isKnown && !isConsent && templateId !== ''
      ? [{ field: 'template_id', description: 'is allowed only for a consent' }]
      : text('template_id', templateId, least(isConsent))),
    ...(isFuture ? [{ field: 'collect_time', description: "is in the future by the broker's clock" }] : []),
  ];
}

function oneOf(field: string, value: string, allowed: readonly string[]): Violation[] {
  if (value === '' || allowed.includes(value)) return [];
  return [{ field, description: `must be ${allowed.join(', ')} or empty` }];
}

function text(field: string, value: string, { min = 0, max }: { min?: number; max: number }): Violation[] {
  if (value === '') return min > 0 ? [{ field, description: 'is required' }] : [];
  const length = characters(value);
  return length <= max ? [] : [{ field, description: `must have at most ${max} characters, has ${length}` }];
}

function count(field: string, items: number, { min = 0, max }: { min?: number; max: number }): Violation[] {
  if (items < min) return [{ field, description: 'is required: it is empty' }];
  return items <= max ? [] : [{ field, description: `must have at most ${max} entries, has ${items}` }];
}

/** The number of characters as people count them: those beyond the Basic Multilingual Plane are one each. */
function characters(value: string): number {
  let length = value.length;
  for (let i = 0; i < value.length - 1; i++) {
    const isPair = (value.charCodeAt(i) & 0xfc00) === 0xd800 && (value.charCodeAt(i + 1) & 0xfc00) === 0xdc00;
    if (isPair) length--;
  }
  return length;
}

function within(prefix: string, { field, description }: Violation): Violation {
  return { field: `${prefix}.${field}`, description };
}
