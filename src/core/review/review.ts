import { fold, isTooSimilar } from './similarity.ts';
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
    example: /\d.*[年月日时点:：/-]|[上下]午|今天|明天/u,
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

/** Checks a template against the rules that a machine can check, in their order. */
export function review(template: Template, words: ReviewWords): Finding[] {
  return [...reviewTitle(template, words), ...reviewKeywords(template, words)];
}

function* reviewTitle({ title, existingTitles }: Template, words: ReviewWords): Generator<Finding> {
  const core = fold(title).replace(ENDING, '');
  const same = existingTitles.find((other) => fold(other) === fold(title));
  if (same !== undefined) {
    yield finding(
      '1.1',
      `标题“${title}”已经存在,请直接使用库中的模板。`,
      `The title exists already: use that template.`,
    );
  } else {
    const similar = existingTitles.find((other) => isTooSimilar(core, fold(other).replace(ENDING, '')));
    if (similar !== undefined) {
      yield finding(
        '1.2',
        `标题与已有的“${similar}”过于相似,请使用该模板或换一个说法。`,
        `The title is too similar to "${similar}": use that template or name another service.`,
      );
    }
  }
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

function* reviewKeywords({ keywords }: Template, words: ReviewWords): Generator<Finding> {
  const names = keywords.map(({ name }) => name);
  const pairs = names.flatMap((name, i) => names.slice(i + 1).map((other) => [name, other] as const));
  const isSame = ([a, b]: readonly [string, string]) => fold(a) === fold(b);
  for (const [name] of pairs.filter(isSame)) {
    yield finding(
      '2.1',
      `关键词“${name}”重复,同一标题下关键词不能相同。`,
      `The keyword "${name}" stands twice: keep one.`,
    );
  }
  for (const [a, b] of pairs.filter((pair) => !isSame(pair) && isTooSimilar(...pair))) {
    yield finding(
      '2.2',
      `关键词“${a}”与“${b}”过于相似,请保留一个。`,
      `The keywords "${a}" and "${b}" are too similar: keep one.`,
    );
  }
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
    if (!words.broad.some((broad) => fold(broad) === fold(name))) continue;
    yield finding(
      '2.5',
      `关键词“${name}”过于宽泛,请写明是什么(例如“订单内容”改为“商品名称”)。`,
      `The keyword "${name}" is too broad: say what it is.`,
    );
  }
}

function containing(text: string, words: readonly string[]): string[] {
  const found = words.filter((word) => word !== '' && fold(text).includes(fold(word)));
  // "优惠" in "优惠券" is one finding, by its longest word.
  return found.filter((word) => !found.some((other) => other !== word && other.includes(word)));
}

function finding(rule: string, zh: string, en: string): Finding {
  return { rule, message: `${zh} ${en}` };
}
