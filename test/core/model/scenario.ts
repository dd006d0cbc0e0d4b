import fc from 'fast-check';
import type { IssuerKind } from '../../../src/core/tokens/ports.ts';
import { type CallKind, callKinds } from '../../../src/sandbox/calls.ts';
import type { FaultEffect } from '../../../src/sandbox/faults.ts';
import { HOUR, MINUTE, SECOND } from '../../support/world.ts';

/** One thing that happens. `app` is an index, taken modulo the number of apps. Durations are in milliseconds. */
export type Command =
  | { readonly do: 'pass'; readonly ms: number }
  /** `times` callers at once. `min`: no minimum, the current generation, or one more. */
  | { readonly do: 'get'; readonly app: number; readonly min: 0 | 'current' | 'next'; readonly callers: Callers }
  | {
      readonly do: 'report';
      readonly app: number;
      readonly what: 'current' | 'older' | 'garbage';
      readonly by: 'token' | 'generation';
      readonly callers: Callers;
    }
  | { readonly do: 'operator'; readonly app: number; readonly callers: Callers }
  /** `app` null: of every app; `calls` empty: of every kind; `count` 0 and `durationMs` 0: no limit. */
  | {
      readonly do: 'fault';
      readonly effect: FaultEffect;
      readonly app: number | null;
      readonly calls: readonly CallKind[];
      readonly count: number;
      readonly durationMs: number;
    }
  | { readonly do: 'mend' }
  | { readonly do: 'kill'; readonly app: number; readonly which: 'current' | 'all'; readonly stuck: boolean }
  | { readonly do: 'mint outside'; readonly app: number }
  /** The app's next stable read in a grace meets a replica of WeChat that lags behind. */
  | { readonly do: 'lag'; readonly app: number }
  | { readonly do: 'store'; readonly mode: StoreMode }
  /** WeChat's secret is reset, or the configuration gets the right or a wrong one. */
  | { readonly do: 'secret'; readonly app: number; readonly change: 'reset' | 'right' | 'wrong' }
  | { readonly do: 'issuer'; readonly app: number }
  /** Takes the app out of the configuration, or puts it back. */
  | { readonly do: 'toggle app'; readonly app: number }
  /** `steps` microtasks after `during` began, the process dies; `downMs` later another starts on what the store has. */
  | {
      readonly do: 'crash';
      readonly app: number;
      readonly during: 'nothing' | 'report' | 'operator';
      readonly steps: number;
      readonly downMs: number;
      readonly store: 'kept' | 'lost' | 'rolled back';
    }
  | { readonly do: 'jump'; readonly ms: number }
  | { readonly do: 'sleep'; readonly ms: number }
  | { readonly do: 'sweep' }
  | {
      readonly do: 'watch';
      readonly app: number | null;
      readonly known: 'nothing' | 'current' | 'ahead';
      readonly pace: 'fast' | 'slow';
    }
  /** A slow watcher reads one event; a watcher leaves. */
  | { readonly do: 'read' }
  | { readonly do: 'leave' };

/** How many callers, and when they give up; `patienceMs` 0: never. */
export interface Callers {
  readonly times: number;
  readonly standbyDelayMs: number;
}

/** `slow`: each save takes 1.5 s. */
export type StoreMode = 'works' | 'fails' | 'slow';

/** A world, what happens in it, and how it ends. */
export interface Scenario {
  readonly issuers: readonly IssuerKind[];
  readonly dailyBudget: number;
  readonly forceDailyBudget: number;
  readonly probeIntervalMs: number;
  readonly lifetimeMs: number;
  readonly seed: number;
  readonly commands: readonly Command[];
  /** `heals`: everything works again, all must become well, and then the broker drains. */
  readonly ending: 'heals' | 'drain' | 'stop';
}

const app = fc.nat({ max: 2 });
const callers: fc.Arbitrary<Callers> = fc.record({
  times: fc.constantFrom(1, 1, 2, 8),
  standbyDelayMs: fc.constantFrom(0, 0, 700, 20 * SECOND),
});
const takesEffect = fc.boolean();
const kind = <K extends FaultEffect['kind']>(name: K) => fc.constant(name);

const errcodes = [-1, 40001, 40013, 40125, 40164, 40243, 50004, 89501, 89506, 89507, 45009, 45011, 40014, 42001, 61234];
const malformed = [
  '{"access_token":"","expires_in":7200}',
  '{"access_token":"x"}',
  '{"access_token":"x","expires_in":0}',
  '{"access_token":"x","expires_in":-1}',
  '{"access_token":7,"expires_in":7200}',
  '{"access_token":"x","expires_in":"7200"}',
  '[]',
  'null',
  '{"errcode":0}',
];

const effect: fc.Arbitrary<FaultEffect> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: kind('latency'), ms: fc.constantFrom(1, 300, 2_000, 4_900, 8_000) }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('hang'), takesEffect }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('reset'), takesEffect }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('refused') }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('html'), status: fc.constantFrom(200, 502), takesEffect }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('truncated') }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('empty'), takesEffect }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('huge'), bytes: fc.constant(100_000), takesEffect }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('body'), text: fc.constantFrom(...malformed), takesEffect }) },
  { weight: 4, arbitrary: fc.record({ kind: kind('errcode'), errcode: fc.constantFrom(...errcodes) }) },
);

const span = fc.oneof(
  { weight: 2, arbitrary: fc.integer({ min: 1, max: SECOND }) },
  { weight: 4, arbitrary: fc.integer({ min: SECOND, max: 40 * SECOND }) },
  { weight: 3, arbitrary: fc.integer({ min: 40 * SECOND, max: 6 * MINUTE }) },
  { weight: 2, arbitrary: fc.integer({ min: 6 * MINUTE, max: 70 * MINUTE }) },
  { weight: 1, arbitrary: fc.integer({ min: 70 * MINUTE, max: 5 * HOUR }) },
);
/** Long enough to be told from the drift of clocks. */
const leap = fc.integer({ min: 2 * SECOND, max: 3 * HOUR });

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 24, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: span }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      app,
      min: fc.constantFrom<0 | 'current' | 'next'>(0, 0, 'current', 'next'),
      callers,
    }),
  },
  {
    weight: 9,
    arbitrary: fc.record({
      do: fc.constant('report' as const),
      app,
      what: fc.constantFrom<'current' | 'older' | 'garbage'>('current', 'current', 'current', 'older', 'garbage'),
      by: fc.constantFrom<'token' | 'generation'>('token', 'generation'),
      callers,
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('operator' as const), app, callers }) },
  {
    weight: 9,
    arbitrary: fc.record({
      do: fc.constant('fault' as const),
      effect,
      app: fc.option(app),
      calls: fc.oneof(fc.constant([]), fc.uniqueArray(fc.constantFrom(...callKinds), { minLength: 1, maxLength: 2 })),
      count: fc.constantFrom(1, 1, 2, 3, 0),
      durationMs: fc.constantFrom(0, 0, 0, 10 * SECOND, 20 * MINUTE),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('mend' as const) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('kill' as const),
      app,
      which: fc.constantFrom<'current' | 'all'>('current', 'all'),
      stuck: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('mint outside' as const), app }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('lag' as const), app }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('store' as const),
      mode: fc.constantFrom<StoreMode>('works', 'works', 'fails', 'slow'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('secret' as const),
      app,
      change: fc.constantFrom<'reset' | 'right' | 'wrong'>('reset', 'right', 'right', 'wrong'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('issuer' as const), app }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('toggle app' as const), app }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('crash' as const),
      app,
      during: fc.constantFrom<'nothing' | 'report' | 'operator'>('nothing', 'report', 'operator'),
      steps: fc.nat({ max: 60 }),
      downMs: fc.constantFrom(SECOND, 20 * SECOND, 10 * MINUTE, 3 * HOUR),
      store: fc.constantFrom<'kept' | 'lost' | 'rolled back'>('kept', 'kept', 'kept', 'lost', 'rolled back'),
    }),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({ do: fc.constant('jump' as const), ms: leap, back: fc.boolean() })
      .map(({ ms, back, ...rest }) => ({ ...rest, ms: back ? -ms : ms })),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('sleep' as const), ms: leap }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('sweep' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('watch' as const),
      app: fc.option(app),
      known: fc.constantFrom<'nothing' | 'current' | 'ahead'>('nothing', 'current', 'ahead'),
      pace: fc.constantFrom<'fast' | 'slow'>('fast', 'slow'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const) }) },
);

/** Worlds of 1 to 3 apps of both issuers, in which up to 40 things happen. */
export const scenarios: fc.Arbitrary<Scenario> = fc.record({
  issuers: fc.array(fc.constantFrom<IssuerKind>('classic', 'stable'), { minLength: 1, maxLength: 3 }),
  dailyBudget: fc.constantFrom(1000, 100, 10),
  forceDailyBudget: fc.constantFrom(18, 3, 1),
  probeIntervalMs: fc.constantFrom(60 * SECOND, 0),
  lifetimeMs: fc.constantFrom(7200 * SECOND, 7200 * SECOND, 700 * SECOND),
  seed: fc.nat(),
  commands: fc.array(command, { minLength: 1, maxLength: 40, size: 'max' }),
  ending: fc.constantFrom<'heals' | 'drain' | 'stop'>('heals', 'heals', 'heals', 'drain', 'stop'),
});
