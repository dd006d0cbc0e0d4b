import type { Violation } from '../kernel/errors.ts';
import type { Effort } from './effort.ts';
import { type Folded, fold, isTooSimilar } from './similarity.ts';
import type { ReviewWords } from './words.ts';

/** A template as it is to be submitted to WeChat. */
export interface Template {
  readonly title: string;
  readonly keywords: readonly { readonly name: string; readonly example: string }[];
  /** The titles that the library has already. */
  readonly existingTitles: readonly string[];
}

/** One of WeChat's review rules that a template breaks. */
export interface Finding {
  /** "1.1" to "2.5". */
  readonly rule: string;
  /** What is wrong and what to do: a sentence in Chinese and one in English. */
  readonly message: string;
}

/**
 * A review, or what is wrong with the template as a request: a text with more than `MAX_LENGTH` characters once it is folded.
 * Findings are in the order of the rules, at most `MAX_FINDINGS`.
 */
export type Reviewed = { readonly findings: readonly Finding[] } | { readonly violations: readonly Violation[] };

/** How many characters a title or a keyword may have, before and after it is folded: "㎡" is m2. */
export const MAX_LENGTH = 64;
/** More findings tell nobody more. */
export const MAX_FINDINGS = 100;
/** So many violations are named. */
const MAX_VIOLATIONS = 20;

const ENDING = /(提醒|通知)$/u;
/** Letters (Chinese ones too) and digits; everything else is a symbol. Chinese brackets are common in neither. */
const SYMBOL = /[^\p{L}\p{N}]/u;

/** What an example must look like, by the keyword that it is for. The first that fits a keyword counts. */
const EXAMPLES: readonly {
  readonly keyword: RegExp;
  readonly example: RegExp;
  readonly zh: string;
  readonly en: string;
}[] = [
  {
    keyword: /(时间|日期|时刻|时段)$/u,
    // From the first digit on, and not from each: that would be quadratic in the digits.
    example: /^\D*\d.*[年月日时点:：/-]|[上下]午|今天|明天/su,
    zh: '时间或日期',
    en: 'a time or a date',
  },
  { keyword: /(金额|价格|费用|费|单价|总价|余额|款)$/u, example: /\d/u, zh: '金额', en: 'an amount' },
  {
    keyword: /(电话|手机|手机号|联系方式)$/u,
    example: /^\+?[\d\s*-]{5,20}$/u,
    zh: '电话号码',
    en: 'a telephone number',
  },
  {
    keyword: /(数量|次数|人数|件数|天数)$/u,
    example: /\d|[一二三四五六七八九十百千万两]/u,
    zh: '数字',
    en: 'a number',
  },
  { keyword: /(邮箱|邮件地址)$/u, example: /^[^\s@]+@[^\s@]+$/u, zh: '邮箱地址', en: 'an e-mail address' },
  { keyword: /(编号|单号|号码|订单号|账号|卡号|车牌号)$/u, example: /[A-Za-z\d]/u, zh: '编号', en: 'a number or code' },
];

/** A text of the template, and as it is compared. */
interface Text {
  readonly text: string;
  readonly folded: string;
  readonly characters: Folded;
}

interface Texts {
  readonly title: Text;
  readonly names: readonly Text[];
  readonly existing: readonly Text[];
}

/**
 * Checks a template against the rules that a machine can check. `effort` counts what that takes: for N titles and K keywords
 * at most (N + K * (K - 1) / 2) * MAX_LENGTH * (MAX_LENGTH / 2 + 1) cells. Rejects with what its pauses reject with.
 */
export async function review(template: Template, words: ReviewWords, effort: Effort): Promise<Reviewed> {
  const violations: Violation[] = [];
  const read = async (field: string, text: string): Promise<Text> => {
    const folded = fold(text);
    const characters = [...folded];
    effort.text();
    if (characters.length > MAX_LENGTH && violations.length < MAX_VIOLATIONS) {
      const description = `must have at most ${MAX_LENGTH} characters also in its compatibility form (NFKC), has ${characters.length} there`;
      violations.push({ field, description });
    }
    await effort.rest();
    return { text, folded, characters };
  };
  const title = await read('title', template.title);
  const names: Text[] = [];
  for (const [i, { name }] of template.keywords.entries()) names.push(await read(`keywords[${i}].name`, name));
  const existing: Text[] = [];
  for (const [i, text] of template.existingTitles.entries()) {
    existing.push(await read(`existing_titles[${i}]`, text));
    if (violations.length >= MAX_VIOLATIONS) break;
  }
  if (violations.length > 0) return { violations };
  const texts = { title, names, existing };
  const findings = [
    ...(await reviewAgainstTitles(texts, effort)),
    ...reviewTitle(title, words),
    ...(await reviewAgainstEachOther(texts, effort)),
    ...reviewKeywords(template.keywords, words),
  ];
  return { findings: findings.slice(0, MAX_FINDINGS) };
}

function withoutEnding(folded: string): string {
  return folded.replace(ENDING, '');
}

async function reviewAgainstTitles({ title, existing }: Texts, effort: Effort): Promise<Finding[]> {
  if (existing.some(({ folded }) => folded === title.folded)) {
    return [
      finding(
        '1.1',
        `标题“${title.text}”已经存在,请直接使用库中的模板。`,
        `The title exists already: use that template.`,
      ),
    ];
  }
  const core = [...withoutEnding(title.folded)];
  for (const { text, folded } of existing) {
    if (isTooSimilar(core, [...withoutEnding(folded)], (cells) => effort.spend(cells))) {
      return [
        finding(
          '1.2',
          `标题与已有的“${text}”过于相似,请使用该模板或换一个说法。`,
          `The title is too similar to "${text}": use that template or name another service.`,
        ),
      ];
    }
    await effort.rest();
  }
  return [];
}

function* reviewTitle({ text: title, folded }: Text, words: ReviewWords): Generator<Finding> {
  const core = withoutEnding(folded);
  if (!ENDING.test(title.trim())) {
    yield finding('1.3', '标题必须以“提醒”或“通知”结尾。', 'The title must end in 提醒 or 通知.');
  }
  const symbol = SYMBOL.exec(title.trim());
  if (symbol) {
    yield finding(
      '1.4',
      `标题不能含有特殊符号“${symbol[0]}”,请删去。`,
      `The title must not contain the symbol "${symbol[0]}": leave it out.`,
    );
  }
  for (const word of containing(title, words.own)) {
    yield finding(
      '1.4',
      `标题不能含有自定义的词“${word}”,请删去。`,
      `The title must not contain "${word}", a word of your own: leave it out.`,
    );
  }
  if ([...core].length < 2 || words.general.some((general) => fold(general) === core)) {
    yield finding(
      '1.5',
      '标题没有说明具体的服务,请写明是什么事(例如“订单支付成功通知”)。',
      'The title names no concrete service: say what happened (as in 订单支付成功通知).',
    );
  }
  for (const word of containing(title, words.marketing)) {
    yield finding(
      '1.6',
      `标题不能含有营销词“${word}”,模板消息只用于服务通知。`,
      `The title must not contain "${word}", a word of marketing: templates are for service notices.`,
    );
  }
}

/** Each keyword that is the same as one before it, and then each that is too similar to one, once. */
async function reviewAgainstEachOther({ names }: Texts, effort: Effort): Promise<Finding[]> {
  const different = new Map<string, Text>();
  const repeated = new Set<Text>();
  for (const name of names) {
    const first = different.get(name.folded);
    if (first) repeated.add(first);
    else different.set(name.folded, name);
  }
  const findings = [...repeated].map(({ text }) =>
    finding(
      '2.1',
      `关键词“${text}”重复,同一标题下关键词不能相同。`,
      `The keyword "${text}" stands more than once: keep one.`,
    ),
  );
  const before: Text[] = [];
  for (const name of different.values()) {
    const spend = (cells: number) => effort.spend(cells);
    const similar = before.find(({ characters }) => isTooSimilar(characters, name.characters, spend));
    before.push(name);
    await effort.rest();
    if (!similar) continue;
    const { text } = similar;
    findings.push(
      finding(
        '2.2',
        `关键词“${text}”与“${name.text}”过于相似,请保留一个。`,
        `The keywords "${text}" and "${name.text}" are too similar: keep one.`,
      ),
    );
  }
  return findings;
}

function* reviewKeywords(keywords: Template['keywords'], words: ReviewWords): Generator<Finding> {
  const names = keywords.map(({ name }) => name);
  const broad = new Set(words.broad.map(fold));
  for (const name of names) {
    const symbol = SYMBOL.exec(name.trim());
    if (!symbol) continue;
    yield finding(
      '2.3',
      `关键词“${name}”不能含有特殊符号“${symbol[0]}”。`,
      `The keyword "${name}" must not contain the symbol "${symbol[0]}".`,
    );
  }
  for (const { name, example } of keywords) {
    const kind = EXAMPLES.find(({ keyword }) => keyword.test(name.trim()));
    if (example.trim() === '' || !kind || kind.example.test(example.trim())) continue;
    yield finding(
      '2.4',
      `关键词“${name}”的示例应当是${kind.zh}。`,
      `The example of the keyword "${name}" should be ${kind.en}.`,
    );
  }
  for (const name of names) {
    if (!broad.has(fold(name))) continue;
    yield finding(
      '2.5',
      `关键词“${name}”过于宽泛,请写明是什么(例如“订单内容”改为“商品名称”)。`,
      `The keyword "${name}" is too broad: say what it is.`,
    );
  }
}

function containing(text: string, words: readonly string[]): string[] {
  const folded = fold(text);
  const found = words.filter((word) => word !== '' && folded.includes(fold(word)));
  // "优惠" in "优惠券" is one finding, by its longest word.
  return found.filter((word) => !found.some((other) => other !== word && other.includes(word)));
}

function finding(rule: string, zh: string, en: string): Finding {
  return { rule, message: `${zh} ${en}` };
}
