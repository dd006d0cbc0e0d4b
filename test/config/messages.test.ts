import { describe, expect, test } from 'vitest';
import { load, places, refusal } from './fixture.ts';

const APPS = 'apps: [{ app_id: wx1, secret: s1 }]';

describe('messages', () => {
  test.each([
    ['daily_quota', 1, 1_000_000_000],
    ['rate', 0, 100_000],
    ['concurrency', 1, 10_000],
    ['max_waiting', 0, 1_000_000],
    ['max_permits', 1, 100_000_000],
  ])('%s is a whole number from %i to %i', async (key, min, max) => {
    for (const good of [min, max]) await load(`messages: { ${key}: ${good} }\n${APPS}`);
    for (const bad of [min - 1, max + 1, '1.5', '"1"', 'null']) {
      const error = await refusal(`messages: { ${key}: ${bad} }\n${APPS}`);
      expect(places(error)).toEqual([`1 messages.${key}`]);
      expect(error.message).toContain(`a whole number from ${min} to ${max}`);
    }
  });
});

describe('review', () => {
  test('every list takes words of 1 to 64 characters', async () => {
    const config = await load(`review: { own_words: ["${'x'.repeat(64)}"] }\n${APPS}`);
    expect(config.reviewWords.own).toEqual(['x'.repeat(64)]);
    const error = await refusal(`review:
  marketing_words: 优惠
  general_titles: [""]
  own_words: [1]
  broad_keywords: ["${'x'.repeat(65)}"]
  words: []
${APPS}`);
    expect(places(error)).toEqual([
      '2 review.marketing_words',
      '3 review.general_titles[0]',
      '4 review.own_words[0]',
      '5 review.broad_keywords[0]',
      '6 review.words',
    ]);
  });
});
