import type { TokenView } from '../../src/sandbox/wechat.ts';
import type { Holding } from './subscribers.ts';

/** What a scenario came to. */
export interface Figures {
  /** Over all subscribers, the seconds during which WeChat refused the token that was their current one. */
  readonly badSeconds: number;
  /** The longest time from the first subscriber's having a generation to the last one's having it or a newer one. */
  readonly behindMs: number;
}

/** Computes the figures from what subscribers held, until `end`, and what WeChat knows of its tokens. */
export function judge(holdings: readonly Holding[], tokens: readonly TokenView[], end: number): Figures {
  const dies = new Map(tokens.map(({ id, diesAt }) => [id, diesAt]));
  const bySubscriber = Map.groupBy(holdings, ({ subscriber }) => subscriber);
  let badMs = 0;
  for (const held of bySubscriber.values()) {
    for (const [i, { time, tokenId }] of held.entries()) {
      const until = held[i + 1]?.time ?? end;
      // One that WeChat has forgotten died long ago; none at all is no bad one.
      const diesAt = tokenId === '' ? Number.POSITIVE_INFINITY : (dies.get(tokenId) ?? 0);
      badMs += Math.max(0, until - Math.max(time, diesAt));
    }
  }
  let behindMs = 0;
  for (const generation of new Set(holdings.map((holding) => holding.generation))) {
    const reached = [...bySubscriber.values()].map(
      (held) => held.find((holding) => holding.generation >= generation)?.time ?? end,
    );
    behindMs = Math.max(behindMs, Math.max(...reached) - Math.min(...reached));
  }
  return { badSeconds: badMs / 1_000, behindMs };
}
