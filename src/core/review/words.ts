/** What the review rules know of words. Each list can be extended in the configuration (`review`). */
export interface ReviewWords {
  /** Rule 1.6: words of marketing, anywhere in a title. */
  readonly marketing: readonly string[];
  /** Rule 1.5: what a title may not consist of alone, its ending left out. */
  readonly general: readonly string[];
  /** Rule 1.4: words of one's own (brands, slogans), anywhere in a title. */
  readonly own: readonly string[];
  /** Rule 2.5: keywords that say too little. */
  readonly broad: readonly string[];
}

/** WeChat's own examples (消费优惠 to 活动 in rule 1.6, 内容 in rule 2.5), and their like. */
export const REVIEW_WORDS: ReviewWords = {
  marketing: [
    '消费优惠',
    '购物返利',
    '商品更新',
    '优惠券',
    '代金券',
    '红包',
    '会员卡',
    '积分',
    '活动',
    '优惠',
    '返利',
    '返现',
    '折扣',
    '打折',
    '促销',
    '特价',
    '秒杀',
    '抽奖',
    '中奖',
    '免费',
    '赠送',
    '礼包',
    '礼品',
    '福利',
    '新品',
    '上新',
    '推荐',
    '营销',
    '广告',
  ],
  general: [
    '',
    '服务',
    '消息',
    '系统',
    '系统消息',
    '业务',
    '信息',
    '状态',
    '结果',
    '进度',
    '重要',
    '温馨',
    '最新',
    '新消息',
    '内容',
    '事项',
    '待办',
    '变更',
    '更新',
    '成功',
    '失败',
  ],
  own: [],
  broad: [
    '内容',
    '信息',
    '数据',
    '详情',
    '其他',
    '其它',
    '事项',
    '名称',
    '类型',
    '说明',
    '文字',
    '文本',
    '消息',
    '标题',
  ],
};

/** The lists with those of `more` added. */
export function extendWords(more: Partial<ReviewWords>): ReviewWords {
  const list = (name: keyof ReviewWords) => [...REVIEW_WORDS[name], ...(more[name] ?? [])];
  return { marketing: list('marketing'), general: list('general'), own: list('own'), broad: list('broad') };
}
