import fc from 'fast-check';
import type { PermitKind } from '../../../../src/core/messages/ports.ts';
import type { LedgerCall } from '../../../support/ledger.ts';
import type { AttemptFault } from '../../../support/messages.ts';
import { HOUR, MINUTE, SECOND } from '../../../support/world.ts';

/** One thing that happens. `user` and `template` are indices of two each. Durations are in milliseconds. */
export type Command =
  | { readonly do: 'pass'; readonly ms: number }
  /** A user gave a permit so long ago, which is deposited (twice, perhaps), or kept by the caller. */
  | {
      readonly do: 'give';
      readonly kind: PermitKind;
      readonly user: number;
      readonly template: number;
      readonly agoMs: number;
      readonly deposits: 0 | 1 | 2;
    }
  /** A message without a key. `names`: which of the forms that users gave the caller names; null: none. */
  | { readonly do: 'send'; readonly to: Target; readonly names: number | null; readonly standbyDelayMs: number }
  /** A message with the key of this number, which says whose message it is; `calls` at once. `other`: with other content. */
  | {
      readonly do: 'send keyed';
      readonly key: number;
      readonly other: boolean;
      readonly calls: 1 | 2;
      readonly standbyDelayMs: number;
    }
  /** The next `count` attempts meet this. */
  | { readonly do: 'fault'; readonly fault: AttemptFault; readonly count: number }
  /** Every attempt meets this, until `mend`. */
  | { readonly do: 'outage'; readonly fault: AttemptFault }
  /** These calls of the ledger fail, until `mend`. */
  | { readonly do: 'ledger fails'; readonly calls: readonly LedgerCall[] }
  | { readonly do: 'mend' }
  /** WeChat refuses the current token; `replaceable`: the broker can get another. */
  | { readonly do: 'kill token'; readonly replaceable: boolean }
  /** The process dies this many microtasks after a message with this key was sent, and another starts later. */
  | { readonly do: 'crash'; readonly key: number; readonly steps: number; readonly downMs: number }
  | { readonly do: 'purge' };

/** Who gets a message, and how. */
export interface Target {
  readonly channel: 'mini_program' | 'subscribe' | 'official_account' | 'subscription_notice';
  readonly user: number;
  readonly template: number;
}

/** A world, and what happens in it. */
export interface Scenario {
  readonly seed: number;
  readonly dailyQuota: number;
  readonly ratePerSecond: number;
  readonly concurrency: number;
  readonly maxWaiting: number;
  /** What WeChat says of a form that was used and has expired. */
  readonly expiredUsedForm: 41028 | 41029;
  readonly commands: readonly Command[];
}

/** How many keys there are. */
export const KEYS = 6;

const index = fc.nat({ max: 1 });
const key = fc.nat({ max: KEYS - 1 });
const standbyDelayMs = fc.constantFrom(0, 0, 0, 500, 7 * SECOND);
const target: fc.Arbitrary<Target> = fc.record({
  channel: fc.constantFrom('mini_program', 'mini_program', 'subscribe', 'official_account', 'subscription_notice'),
  user: index,
  template: index,
});
/** Never, at once, after the next attempt, after the call was given up. */
const arrives = fc.constantFrom<number | 'never'>('never', 0, 0, 3 * SECOND, 40 * SECOND);
const fault: fc.Arbitrary<AttemptFault> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('lost' as const), arrives }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('hang' as const), arrives }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('unsent' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('slow' as const), ms: fc.constantFrom(1, 800, 4_900, 6_000) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('errcode' as const),
      errcode: fc.constantFrom(-1, -1, 40003, 43117, 45009, 45011, 45103, 47003, 48001, 50002, 61004, 99999),
    }),
  },
);
const span = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: 1, max: SECOND }) },
  { weight: 5, arbitrary: fc.integer({ min: SECOND, max: 20 * SECOND }) },
  { weight: 3, arbitrary: fc.integer({ min: 20 * SECOND, max: 11 * MINUTE }) },
  { weight: 1, arbitrary: fc.constant(10 * MINUTE - 7 * SECOND) },
  { weight: 2, arbitrary: fc.integer({ min: HOUR, max: 25 * HOUR }) },
  { weight: 1, arbitrary: fc.integer({ min: 5 * 24 * HOUR, max: 8 * 24 * HOUR }) },
);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 14, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: span }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('give' as const),
      kind: fc.constantFrom<PermitKind>('form_id', 'form_id', 'form_id', 'prepay_id', 'consent'),
      user: index,
      template: index,
      agoMs: fc.constantFrom(0, 0, 0, 7 * 24 * HOUR - 5 * MINUTE),
      deposits: fc.constantFrom<0 | 1 | 2>(1, 1, 1, 1, 2, 0),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('send' as const),
      to: target,
      names: fc.oneof({ weight: 4, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.nat({ max: 3 }) }),
      standbyDelayMs,
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('send keyed' as const),
      key,
      other: fc.constantFrom(false, false, false, false, false, true),
      calls: fc.constantFrom<1 | 2>(1, 1, 2),
      standbyDelayMs,
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({ do: fc.constant('fault' as const), fault, count: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('outage' as const), fault }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('ledger fails' as const),
      calls: fc.constantFrom<readonly LedgerCall[]>(['settle'], ['settle'], ['redraw'], ['begin', 'redraw', 'settle']),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('mend' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('kill token' as const), replaceable: fc.boolean() }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      key,
      steps: fc.nat({ max: 40 }),
      downMs: fc.constantFrom(1, SECOND, 4 * MINUTE, 11 * MINUTE, 25 * HOUR),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('purge' as const) }) },
);

/** Worlds in which up to 40 things happen. */
export const scenarios: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.nat(),
  dailyQuota: fc.constantFrom(1_000, 1_000, 1_000, 8, 2),
  ratePerSecond: fc.constantFrom(0, 0, 1, 10),
  concurrency: fc.constantFrom(100, 3, 1),
  maxWaiting: fc.constantFrom(100, 2, 0),
  expiredUsedForm: fc.constantFrom<41028 | 41029>(41028, 41029),
  commands: fc.array(command, { minLength: 1, maxLength: 40, size: 'max' }),
});
