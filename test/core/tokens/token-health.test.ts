import { describe, expect, it } from 'vitest';
import { type CurrentToken, emptyRecord } from '../../../src/core/tokens/app-record.ts';
import { TokenHealth } from '../../../src/core/tokens/token-health.ts';

const doubted: CurrentToken = {
  value: 'a',
  id: 'a',
  issuedAt: 0,
  expiresAt: 7_200_000,
  answeredAt: 50,
  dueAt: 3_600_000,
};

describe('a token that WeChat accepts after the clock leapt beyond its life', () => {
  const tokenHealth = new TokenHealth();
  tokenHealth.doubt = doubted;
  const redeem = tokenHealth.redeem(doubted, 7);

  it('has back what the clock took', () => {
    expect(redeem({ ...emptyRecord('classic'), generation: 7 }).current).toEqual(doubted);
  });

  it('does not come back in place of one that another replica has brought meanwhile', () => {
    const newer = { ...emptyRecord('classic'), generation: 8 };
    expect(redeem(newer)).toBe(newer);
  });
});
