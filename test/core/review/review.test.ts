import { describe, expect, it } from 'vitest';
import { review } from '../../../src/core/review/review.ts';
import { similarity } from '../../../src/core/review/similarity.ts';
import { extendWords, REVIEW_WORDS } from '../../../src/core/review/words.ts';

const rules = (
  title: string,
  keywords: readonly (readonly [string, string])[] = [],
  existingTitles: readonly string[] = [],
  words = REVIEW_WORDS,
) =>
  review({ title, keywords: keywords.map(([name, example]) => ({ name, example })), existingTitles }, words).map(
    ({ rule }) => rule,
  );

describe('a title', () => {
  it.each([
    ['订单支付成功通知', [], []],
    ['航班起飞提醒', ['酒店入住提醒'], []],
    ['订单支付成功通知', ['订单支付成功通知'], ['1.1']],
    ['订单支付成功通知', ['订单支付成功提醒'], ['1.2']],
    ['订单已发货通知', ['订单发货通知'], ['1.2']],
    ['购买成功通知', ['购买失败通知'], []],
    ['订单支付成功', [], ['1.3']],
    ['订单支付成功!通知', [], ['1.4']],
    ['【订单】支付成功通知', [], ['1.4']],
    ['通知', [], ['1.5']],
    ['系统消息通知', [], ['1.5']],
    ['优惠券到账通知', [], ['1.6']],
    ['会员卡积分变动提醒', [], ['1.6', '1.6']],
  ])('%s beside %j breaks %j', (title, existing, expected) => {
    expect(rules(title, [], existing)).toEqual(expected);
  });
});

describe('keywords', () => {
  it.each([
    [
      [
        ['订单号', '20260131001'],
        ['支付金额', '12.50元'],
        ['支付时间', '2026年1月31日 12:30'],
      ],
      [],
    ],
    [
      [
        ['订单号', ''],
        ['订单号', ''],
      ],
      ['2.1'],
    ],
    [
      [
        ['订单号', ''],
        ['订单编号', ''],
      ],
      ['2.2'],
    ],
    [[['订单#号', '']], ['2.3']],
    [[['支付时间', '张三']], ['2.4']],
    [[['支付金额', '很多']], ['2.4']],
    [[['联系电话', '张三']], ['2.4']],
    [[['邮箱', 'x']], ['2.4']],
    [[['参加人数', '若干']], ['2.4']],
    [[['内容', '好']], ['2.5']],
  ] as const)('%j break %j', (keywords, expected) => {
    expect(rules('订单支付成功通知', keywords)).toEqual(expected);
  });
});

it('speaks Chinese and English', () => {
  const [finding] = review({ title: '红包到账通知', keywords: [], existingTitles: [] }, REVIEW_WORDS);
  expect(finding?.message).toMatch(/营销词“红包”.*word of marketing/);
});

it('takes more words from outside', () => {
  const words = extendWords({ own: ['小鹿'], marketing: ['拼团'], broad: ['备注'], general: ['杂项'] });
  expect(rules('小鹿拼团成功通知', [['备注', '']], [], words)).toEqual(['1.4', '1.6', '2.5']);
  expect(rules('杂项通知', [], [], words)).toEqual(['1.5']);
  expect(rules('小鹿拼团成功通知', [['备注', '']])).toEqual([]);
});

it('measures similarity by edits, and not by case or width', () => {
  expect(similarity('订单号', '订单编号')).toBe(0.75);
  expect(similarity('ABC1', 'abc１')).toBe(1);
  expect(similarity('', '')).toBe(1);
  expect(similarity('甲', '乙丙')).toBe(0);
});
