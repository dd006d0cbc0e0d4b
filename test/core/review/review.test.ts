import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Effort } from '../../../src/core/review/effort.ts';
import { MAX_FINDINGS, MAX_LENGTH, review, type Template } from '../../../src/core/review/review.ts';
import { fold, isTooSimilar } from '../../../src/core/review/similarity.ts';
import { extendWords, REVIEW_WORDS } from '../../../src/core/review/words.ts';

const unhindered = () => new Effort(() => Promise.resolve());
const template = (
  title: string,
  keywords: readonly (readonly [string, string])[] = [],
  existingTitles: readonly string[] = [],
): Template => ({ title, keywords: keywords.map(([name, example]) => ({ name, example })), existingTitles });

async function findings(of: Template, words = REVIEW_WORDS, effort = unhindered()) {
  const reviewed = await review(of, words, effort);
  if ('violations' in reviewed) throw new Error(JSON.stringify(reviewed));
  return reviewed.findings;
}

async function rules(
  title: string,
  keywords: readonly (readonly [string, string])[] = [],
  existingTitles: readonly string[] = [],
  words = REVIEW_WORDS,
): Promise<string[]> {
  return (await findings(template(title, keywords, existingTitles), words)).map(({ rule }) => rule);
}

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
  ])('%s beside %j breaks %j', async (title, existing, expected) => {
    expect(await rules(title, [], existing)).toEqual(expected);
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
    [
      [
        ['订单号', ''],
        ['订单号', ''],
        ['订单号 ', ''],
        ['订单编号', ''],
      ],
      ['2.1', '2.2'],
    ],
    [[['支付时间', '张三']], ['2.4']],
    [[['支付时间', '2026']], ['2.4']],
    [[['支付时间', '\n3\n点']], []],
    [[['支付金额', '很多']], ['2.4']],
    [[['联系电话', '张三']], ['2.4']],
    [[['邮箱', 'x']], ['2.4']],
    [[['参加人数', '若干']], ['2.4']],
    [[['内容', '好']], ['2.5']],
  ] as const)('%j break %j', async (keywords, expected) => {
    expect(await rules('订单支付成功通知', keywords)).toEqual(expected);
  });
});

it('speaks Chinese and English', async () => {
  const [finding] = await findings(template('红包到账通知'));
  expect(finding?.message).toMatch(/营销词“红包”.*word of marketing/);
});

it('takes more words from outside', async () => {
  const words = extendWords({ own: ['小鹿'], marketing: ['拼团'], broad: ['备注'], general: ['杂项'] });
  expect(await rules('小鹿拼团成功通知', [['备注', '']], [], words)).toEqual(['1.4', '1.6', '2.5']);
  expect(await rules('杂项通知', [], [], words)).toEqual(['1.5']);
  expect(await rules('小鹿拼团成功通知', [['备注', '']])).toEqual([]);
});

describe('similarity', () => {
  const similar = (a: string, b: string) => isTooSimilar([...fold(a)], [...fold(b)], () => undefined);

  it('goes by edits, and not by case or width', () => {
    expect(similar('订单号', '订单编号')).toBe(true);
    expect(similar('ABC1', 'abc１')).toBe(true);
    expect(similar('甲', '乙丙')).toBe(false);
    expect(similar('购买成功', '购买失败')).toBe(false);
  });

  it('is what the whole table of distances says', () => {
    const text = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 24 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        const most = Math.max(a.length, b.length) / 4;
        return isTooSimilar(a, b, () => undefined) === distance(a, b) <= most;
      }),
      { numRuns: 2_000 },
    );
  });

  function distance(a: readonly string[], b: readonly string[]): number {
    const table = Array.from({ length: a.length + 1 }, (_, i) => [i, ...new Array<number>(b.length).fill(0)]);
    b.forEach((_, j) => {
      (table[0] as number[])[j + 1] = j + 1;
    });
    for (const [i, one] of a.entries()) {
      for (const [j, other] of b.entries()) {
        const [above, here] = [table[i] as number[], table[i + 1] as number[]];
        const replaced = (above[j] as number) + (one === other ? 0 : 1);
        here[j + 1] = Math.min(replaced, (above[j + 1] as number) + 1, (here[j] as number) + 1);
      }
    }
    return table.at(-1)?.at(-1) ?? 0;
  }
});

describe('what a review costs', () => {
  const LIGATURE = '\ufdfa'; // 18 characters in NFKC
  const alike = (i: number) => `${'甲'.repeat(MAX_LENGTH - 20)}${String.fromCharCode(0x4e00 + i).repeat(20)}`;

  it('is bounded by limits that count for folded texts too', async () => {
    const reviewed = await review(
      template(`${LIGATURE}通知`.repeat(2), [[LIGATURE.repeat(4), '']], [LIGATURE.repeat(3), LIGATURE]),
      REVIEW_WORDS,
      unhindered(),
    );
    const description = 'must have at most 64 characters also in its compatibility form (NFKC), has 72 there';
    expect(reviewed).toEqual({ violations: [{ field: 'keywords[0].name', description }] });
  });

  it('names only some of thousands of texts that are too long', async () => {
    const effort = unhindered();
    const reviewed = await review(
      template('订单支付成功通知', [], Array(5_000).fill(LIGATURE.repeat(64))),
      REVIEW_WORDS,
      effort,
    );
    expect(reviewed).toMatchObject({ violations: { length: 20 } });
    expect(effort.cells).toBe(0);
  });

  it('is at most so many cells, in stretches between which others have their turn', async () => {
    let rests = 0;
    let [longest, before] = [0, 0];
    const effort: Effort = new Effort(async () => {
      rests++;
      longest = Math.max(longest, effort.cells - before);
      before = effort.cells;
    });
    const keywords = Array.from({ length: 64 }, (_, i) => [alike(i), ''] as const);
    const titles = Array.from({ length: 10_000 }, (_, i) => `${alike(i)}`);
    await findings(template(alike(20_000), keywords, titles), REVIEW_WORDS, effort);
    expect(effort.cells).toBeGreaterThan(1_000_000);
    const pair = MAX_LENGTH * (MAX_LENGTH / 2 + 1);
    expect(effort.cells).toBeLessThanOrEqual((10_000 + 2_016) * pair);
    expect(longest).toBeLessThanOrEqual(100_000 + 63 * pair);
    expect(rests).toBeGreaterThan(effort.cells / (100_000 + 63 * pair));
  });

  it('and its findings are bounded', async () => {
    const found = await findings(
      template('订单支付成功通知', [
        ...Array.from({ length: 3 }, () => ['#内容', ''] as const),
        ...Array.from({ length: 61 }, (_, i) => [`#${alike(i).slice(0, 61)}时间`, '某'] as const),
      ]),
    );
    expect(found).toHaveLength(MAX_FINDINGS);
    expect(found.filter(({ rule }) => rule === '2.1')).toHaveLength(1);
  });

  it('ends where its pause is refused', async () => {
    const effort = new Effort(() => Promise.reject(new Error('the caller has left')));
    const titles = Array.from({ length: 10_000 }, (_, i) => alike(i));
    await expect(review(template('订单支付成功通知', [], titles), REVIEW_WORDS, effort)).rejects.toThrow('has left');
  });
});
