import { describe, expect, it } from 'vitest';
import { type Held, nothingKept } from '../../src/core/kept.ts';
import { Standing } from '../../src/core/standing.ts';

const doubted: Held = { value: 'a', id: 'a', issuedAt: 0, expiresAt: 7_200_000, answeredAt: 50, dueAt: 3_600_000 };

describe('a token that WeChat accepts after the clock leapt beyond its life', () => {
  const standing = new Standing();
  standing.doubt = doubted;
  const redeem = standing.redeem(doubted, 7);

  it('has back what the clock took', () => {
    expect(redeem({ ...nothingKept('classic'), generation: 7 }).current).toEqual(doubted);
  });

  it('does not come back in place of one that another replica has brought meanwhile', () => {
    const newer = { ...nothingKept('classic'), generation: 8 };
    expect(redeem(newer)).toBe(newer);
  });
});
