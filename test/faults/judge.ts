import type { TokenView } from '../../src/sandbox/wechat.ts';
import type { Holding } from './subscribers.ts';

/** What a scenario came to. */
export interface Figures {
  /** Over all subscribers, the seconds during which WeChat refused the token that was their current one. */
  readonly badSeconds: number;
  /** Over all subscribers, the seconds without any token after they had one. */
  readonly bareSeconds: number;
  /** How often a subscriber was told of a lower generation than it had. */
  readonly falls: number;
  /** The longest time from the first subscriber's having a generation to the last one's having it or a newer one. */
  readonly behindMs: number;
}

/**
 * Computes the figures from what each of `count` subscribers held, in order, until `end`, and what WeChat knows of its tokens.
 * What everyone had by `known`, the generation at the start, nobody is behind with.
 */
export function judge(
  holdings: readonly Holding[],
  tokens: readonly Pick<TokenView, 'id' | 'diesAt'>[],
  { count, known, end }: { readonly count: number; readonly known: number; readonly end: number },
): Figures {
  const dies = new Map(tokens.map(({ id, diesAt }) => [id, diesAt]));
  const bySubscriber = Array.from({ length: count }, (): Holding[] => []);
  for (const holding of holdings) bySubscriber[holding.subscriber]?.push(holding);
  let [badMs, bareMs, falls] = [0, 0, 0];
  for (const held of bySubscriber) {
    const first = held.findIndex(({ tokenId }) => tokenId !== '');
    let newest = 0;
    for (const [i, { time, tokenId, generation }] of held.entries()) {
      const until = held[i + 1]?.time ?? end;
      // One that WeChat has forgotten died long ago.
      if (tokenId !== '') badMs += Math.max(0, until - Math.max(time, dies.get(tokenId) ?? 0));
      else if (first >= 0 && i > first) bareMs += until - time;
      if (generation < newest) falls++;
      newest = Math.max(newest, generation);
    }
  }
  let behindMs = 0;
  for (const generation of new Set(holdings.map((holding) => holding.generation))) {
    if (generation <= known) continue;
    const reached = bySubscriber.map((held) => held.find((holding) => holding.generation >= generation)?.time ?? end);
    behindMs = Math.max(behindMs, Math.max(...reached) - Math.min(...reached));
  }
  return { badSeconds: badMs / 1_000, bareSeconds: bareMs / 1_000, falls, behindMs };
}
