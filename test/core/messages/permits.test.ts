import { describe, expect, it } from 'vitest';
import { quotaDay } from '../../../src/core/kernel/quota-day.ts';
import { canonicalText } from '../../../src/core/messages/digest.ts';
import type { Message } from '../../../src/core/messages/message.ts';
import { formIdOf, newPermit, wishOf } from '../../../src/core/messages/permits.ts';
import { budgetNow } from '../../../src/core/tokens/budget.ts';
import { message } from '../../support/messages.ts';
import { HOUR, MINUTE, SETTINGS } from '../../support/world.ts';

describe('a permit', () => {
  it.each([
    ['form_id', 1, 1_000 + 7 * 24 * HOUR],
    ['prepay_id', 3, 1_000 + 7 * 24 * HOUR],
    ['consent', 1, null],
  ] as const)('%s is good for %i messages until %s', (kind, uses, expireTime) => {
    const permit = newPermit({ toUser: 'u', kind, value: 'v', templateId: 't', collectTime: 1_000 });
    expect(permit).toEqual({ toUser: 'u', kind, value: 'v', templateId: 't', collectTime: 1_000, uses, expireTime });
  });

  it.each([
    ['mini_program', '', { kind: 'form', toUser: 'openid-1' }, 'drawn'],
    ['mini_program', 'named', { kind: 'named', value: 'named' }, 'named'],
    ['subscribe', '', { kind: 'consent', toUser: 'openid-1', templateId: 'template-1' }, ''],
    ['subscription_notice', '', { kind: 'consent', toUser: 'openid-1', templateId: 'template-1' }, ''],
    ['official_account', '', { kind: 'none' }, ''],
  ] as const)('%s with form_id "%s" wants %j and is sent with "%s"', (channel, formId, wish, sentWith) => {
    const wanted = message(channel, { formId });
    expect(wishOf(wanted)).toEqual(wish);
    expect(formIdOf(wanted, { kind: wish.kind === 'consent' ? 'consent' : 'form_id', value: 'drawn' })).toBe(sentWith);
  });

  it('that is missing leaves the form_id empty', () => {
    expect(formIdOf(message('mini_program'), null)).toBe('');
  });
});

describe('what makes two messages the same', () => {
  const base = message('mini_program', { idempotencyKey: 'k' });
  const value = (text: string, color = '') => ({ value: text, color });
  const others: Record<string, Message> = {
    app: { ...base, appId: 'other' },
    user: { ...base, toUser: 'other' },
    template: { ...base, templateId: 'other' },
    page: { ...base, page: 'other' },
    value: { ...base, data: { keyword1: value('other') } },
    color: { ...base, data: { keyword1: value('content', '#000000') } },
    name: { ...base, data: { keyword2: value('content') } },
    'one keyword more': { ...base, data: { ...base.data, keyword2: value('') } },
    form_id: message('mini_program', { formId: 'f' }),
    emphasis: { ...base, channel: { kind: 'mini_program', formId: '', emphasisKeyword: 'keyword1' } },
    'form_id and emphasis exchanged': {
      ...base,
      channel: { kind: 'mini_program', formId: 'keyword1', emphasisKeyword: '' },
    },
    channel: message('subscribe'),
    state: { ...base, channel: { kind: 'subscribe', miniProgramState: 'trial', lang: '' } },
    lang: { ...base, channel: { kind: 'subscribe', miniProgramState: '', lang: 'trial' } },
    'other channel': message('official_account'),
    url: { ...base, channel: { kind: 'official_account', url: 'x', miniProgramAppId: '', miniProgramPage: '' } },
    'mini program': {
      ...base,
      channel: { kind: 'official_account', url: '', miniProgramAppId: 'x', miniProgramPage: '' },
    },
    notice: message('subscription_notice'),
    'mini program of a notice': {
      ...base,
      channel: { kind: 'subscription_notice', miniProgramAppId: 'x', miniProgramPage: '' },
    },
    'page of the mini program of a notice': {
      ...base,
      channel: { kind: 'subscription_notice', miniProgramAppId: '', miniProgramPage: 'x' },
    },
    'its page': { ...base, channel: { kind: 'official_account', url: '', miniProgramAppId: '', miniProgramPage: 'x' } },
  };

  it('is every part of them', () => {
    const texts = [base, ...Object.values(others)].map(canonicalText);
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('is neither the key nor the order of the data', () => {
    const [a, b] = [value('1'), value('2')];
    const one = canonicalText({ ...base, data: { a, b } });
    expect(canonicalText({ ...base, idempotencyKey: 'other', data: { b, a } })).toBe(one);
    expect(canonicalText({ ...base, data: { a: b, b: a } })).not.toBe(one);
  });
});

it('messages are counted by the same days as budgets', () => {
  const start = Date.UTC(2026, 0, 15);
  for (let quotaResetHour = 0; quotaResetHour < 24; quotaResetHour++) {
    for (let at = start; at < start + 50 * HOUR; at += 30 * MINUTE) {
      const { day } = budgetNow({ day: -1, mints: 0, forced: 0 }, at, { ...SETTINGS, quotaResetHour });
      expect(quotaDay(at, quotaResetHour)).toBe(day);
      expect(quotaDay(at - 1, quotaResetHour)).toBe(
        budgetNow({ day: -1, mints: 0, forced: 0 }, at - 1, { ...SETTINGS, quotaResetHour }).day,
      );
    }
  }
});
