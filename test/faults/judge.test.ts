import { expect, test } from 'vitest';
import { type Figures, judge } from './judge.ts';
import type { Holding } from './subscribers.ts';

const NONE: Figures = { badSeconds: 0, bareSeconds: 0, falls: 0, behindMs: 0 };
const TOKENS = [
  { id: 'new', diesAt: 90_000 },
  { id: 'old', diesAt: 5_000 },
];
const KNOWN = 1;
const END = 10_000;

type Held = Omit<Holding, 'subscriber'>;
const old = (time: number, generation = 1): Held => ({ time, tokenId: 'old', generation });
const fresh = (time: number, generation = 2): Held => ({ time, tokenId: 'new', generation });
const none = (time: number, generation = 1): Held => ({ time, tokenId: '', generation });
const forgotten = (time: number): Held => ({ time, tokenId: 'forgotten', generation: 1 });

/** What each subscriber held, and what that comes to. */
const CASES: readonly [what: string, held: readonly (readonly Held[])[], figures: Partial<Figures>][] = [
  ['a token that lives', [[fresh(0, 1)]], {}],
  ['left before it died', [[old(0), fresh(4_000)]], {}],
  ['left a second after it died', [[old(0), fresh(6_000)]], { badSeconds: 1 }],
  ['never left', [[old(0)]], { badSeconds: 5 }],
  ['sent again when it was dead', [[old(0), old(6_000)]], { badSeconds: 5 }],
  ['taken up when it was dead', [[fresh(0, 1), old(7_000, 2)]], { badSeconds: 3 }],
  ['one that WeChat has forgotten', [[forgotten(8_000)]], { badSeconds: 2 }],
  [
    'two with a dead token',
    [
      [old(0), fresh(6_000)],
      [old(0), fresh(6_000)],
    ],
    { badSeconds: 2 },
  ],
  ['none at first', [[none(0, 0), fresh(4_000, 1)]], {}],
  ['none for three seconds', [[old(0), none(1_000), fresh(4_000)]], { bareSeconds: 3 }],
  ['none in the end', [[old(0), none(4_000)]], { bareSeconds: 6 }],
  ['a generation that falls', [[fresh(0, 3), fresh(1_000, 2), fresh(2_000, 2)]], { falls: 2, behindMs: 0 }],
  ['a generation that comes again', [[fresh(0, 1), fresh(1_000, 1)]], {}],
  ['another subscriber with a lower one', [[fresh(0, 3)], [fresh(500, 2)]], { behindMs: END }],
  [
    'one a second behind',
    [
      [old(0), fresh(1_000)],
      [old(0), fresh(2_000)],
    ],
    { behindMs: 1_000 },
  ],
  [
    'one that skips a generation',
    [
      [old(0), fresh(1_000), fresh(2_000, 3)],
      [old(0), fresh(2_500, 3)],
    ],
    { behindMs: 1_500 },
  ],
  ['one that it never reached', [[old(0), fresh(3_000)], [fresh(0, 1)]], { behindMs: 7_000 }],
  ['one that had nothing at all', [[old(0), fresh(3_000)], []], { behindMs: 7_000 }],
  ['what was known at the start', [[old(0)], [fresh(4_000, 1)]], { badSeconds: 5 }],
];

test.each(CASES)('%s', (_, subscribers, figures) => {
  const holdings = subscribers
    .flatMap((held, subscriber) => held.map((holding): Holding => ({ subscriber, ...holding })))
    .sort((a, b) => a.time - b.time);
  const scope = { count: subscribers.length, known: KNOWN, end: END };
  expect(judge(holdings, TOKENS, scope)).toEqual({ ...NONE, ...figures });
});
