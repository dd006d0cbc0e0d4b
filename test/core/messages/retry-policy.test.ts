import { describe, expect, it } from 'vitest';
import {
  type AttemptContext,
  type AttemptResult,
  CLIENT_MSG_ID_MS,
  isRepeatable,
  MOST,
  nextStep,
  resultOf,
  type Step,
  type Tried,
} from '../../../src/core/messages/retry-policy.ts';
import { unanswered, upstreamError } from '../../support/messages.ts';

const form = { kind: 'form_id', value: 'f' } as const;
const NOTHING: Tried = { retry: 0, refresh: 0, redraw: 0, repeat: 0 };

/** How a message may be sent: by which channel, with which permit. */
const WAYS = {
  'drawn form': { channel: 'mini_program', permit: form, named: false, ageMs: 0 },
  'doubtful form': { channel: 'mini_program', permit: { ...form, doubtful: true }, named: false, ageMs: 0 },
  'named form': { channel: 'mini_program', permit: form, named: true, ageMs: 0 },
  'drawn payment': { channel: 'mini_program', permit: { kind: 'prepay_id', value: 'p' }, named: false, ageMs: 0 },
  'named payment': { channel: 'mini_program', permit: { kind: 'prepay_id', value: 'p' }, named: true, ageMs: 0 },
  'named unknown': { channel: 'mini_program', permit: null, named: true, ageMs: 0 },
  consent: { channel: 'subscribe', permit: { kind: 'consent', value: 'c' }, named: false, ageMs: 0 },
  'no consent': { channel: 'subscribe', permit: null, named: false, ageMs: 0 },
  'notice, consent': {
    channel: 'subscription_notice',
    permit: { kind: 'consent', value: 'c' },
    named: false,
    ageMs: 0,
  },
  'notice, no consent': { channel: 'subscription_notice', permit: null, named: false, ageMs: 0 },
  'account, 10 min': { channel: 'official_account', permit: null, named: false, ageMs: CLIENT_MSG_ID_MS },
  'account, later': { channel: 'official_account', permit: null, named: false, ageMs: CLIENT_MSG_ID_MS + 1 },
} as const satisfies Record<string, Pick<AttemptContext, 'channel' | 'permit' | 'named' | 'ageMs'>>;
type Way = keyof typeof WAYS;

const ways = Object.keys(WAYS) as Way[];
const drawnForms = ['drawn form', 'doubtful form', 'drawn payment'] as const;
const namedForms = ['named form', 'named payment', 'named unknown'] as const;
const repeatable = ['drawn form', 'doubtful form', 'named form', 'account, 10 min'] as const;
const notRepeatable = ways.filter((way) => !repeatable.some((one) => one === way));
const consents = ['consent', 'no consent', 'notice, consent', 'notice, no consent'] as const;
const except = (...those: readonly Way[]) => ways.filter((way) => !those.includes(way));

const refusal = (errcode: number) => resultOf(upstreamError(errcode));
const LASTING = [40003, 40037, 41030, 45103, 47003, 99999];
const PASSING = [43117, 45009, 45011, 48001, 50002, 61004];

/** `lost`: whether an attempt before may have sent it. `tried`: nothing yet, or all that may be tried. */
interface Row {
  readonly lost: 'no' | 'maybe';
  readonly tried: 'nothing' | 'all';
  readonly attempt: AttemptResult;
  readonly ways: readonly Way[];
  /** As `do`, or as `as/permit`; where it depends on a key, without and with one. */
  readonly step: string | readonly [unkeyed: string, keyed: string];
}

const sent: AttemptResult = { kind: 'sent' };
const unsent: AttemptResult = { kind: 'unsent' };
const unknown: AttemptResult = { kind: 'unknown' };
const row = (
  lost: Row['lost'],
  tried: Row['tried'],
  attempt: AttemptResult,
  which: readonly Way[],
  step: Row['step'],
): Row => ({ lost, tried, attempt, ways: which, step });
const KEPT_OPEN = ['unknown/returned', 'unknown/held'] as const;

const ROWS: readonly Row[] = [
  ...(['nothing', 'all'] as const).flatMap((tried) => [
    row('no', tried, sent, ways, 'sent/spent'),
    row('maybe', tried, sent, ways, 'sent/spent'),
    row('no', tried, unsent, ways, 'freed/returned'),
    row('no', tried, unknown, notRepeatable, 'unknown/returned'),
    ...LASTING.map((errcode) => row('no', tried, refusal(errcode), ways, 'refused/returned')),
    ...PASSING.map((errcode) => row('no', tried, refusal(errcode), ways, 'freed/returned')),
    row('no', tried, refusal(43101), consents, 'refused/void'),
    row('no', tried, refusal(43101), except(...consents), 'refused/returned'),
    ...[41028, 41029].flatMap((errcode) => [
      row('no', tried, refusal(errcode), drawnForms, tried === 'nothing' ? 'redraw' : 'freed/void'),
      row('no', tried, refusal(errcode), namedForms, 'refused/void'),
      row('no', tried, refusal(errcode), except(...drawnForms, ...namedForms), 'refused/returned'),
    ]),
    // Of a message that may have arrived a refusal says nothing, but for a form that is used.
    ...[...LASTING, ...PASSING, 43101].flatMap((errcode) => [
      row('maybe', tried, refusal(errcode), repeatable, KEPT_OPEN),
      row('maybe', tried, refusal(errcode), notRepeatable, 'unknown/returned'),
    ]),
    row('maybe', tried, refusal(41029), ['drawn form', 'named form'], 'arrived/spent'),
    row(
      'maybe',
      tried,
      refusal(41029),
      ['doubtful form', 'drawn payment', 'named payment', 'named unknown'],
      'unknown/void',
    ),
    row('maybe', tried, refusal(41028), [...drawnForms, ...namedForms], 'unknown/void'),
    ...[41028, 41029].flatMap((errcode) => [
      row('maybe', tried, refusal(errcode), ['account, 10 min'], KEPT_OPEN),
      row('maybe', tried, refusal(errcode), [...consents, 'account, later'], 'unknown/returned'),
    ]),
    ...[unsent, unknown, refusal(-1)].map((what) => row('maybe', tried, what, notRepeatable, 'unknown/returned')),
  ]),
  row('no', 'nothing', unknown, repeatable, 'repeat'),
  row('no', 'all', unknown, repeatable, KEPT_OPEN),
  ...[unsent, unknown, refusal(-1)].flatMap((what) => [
    row('maybe', 'nothing', what, repeatable, 'repeat'),
    row('maybe', 'all', what, repeatable, KEPT_OPEN),
  ]),
  row('no', 'nothing', refusal(-1), ways, 'retry'),
  row('no', 'all', refusal(-1), ways, 'freed/returned'),
  row('no', 'nothing', refusal(40001), ways, 'refresh'),
  row('no', 'all', refusal(40001), ways, 'freed/returned'),
  row('maybe', 'nothing', refusal(40001), ways, 'refresh'),
  row('maybe', 'all', refusal(40001), repeatable, KEPT_OPEN),
  row('maybe', 'all', refusal(40001), notRepeatable, 'unknown/returned'),
];

function context(way: Way, { lost, tried }: Pick<Row, 'lost' | 'tried'>, keyed: boolean): AttemptContext {
  return { ...WAYS[way], keyed, maybeSent: lost === 'maybe', tried: tried === 'nothing' ? NOTHING : MOST };
}

function inWords(step: Step): string {
  return step.do === 'settle' ? `${step.as}/${step.permit}` : step.do;
}

const nameOf = (attempt: AttemptResult) => (attempt.kind === 'refused' ? attempt.reason : attempt.kind);

describe('the outcome table', () => {
  const cells = ROWS.flatMap((one) =>
    one.ways.flatMap((way) =>
      [false, true].map((keyed) => {
        const step = typeof one.step === 'string' ? one.step : one.step[keyed ? 1 : 0];
        return { ...one, way, keyed, step: step ?? '', what: nameOf(one.attempt) };
      }),
    ),
  );

  it.each(cells)('$what, $way, sent before: $lost, tried: $tried, keyed $keyed: $step', (cell) => {
    expect(inWords(nextStep(cell.attempt, context(cell.way, cell, cell.keyed)))).toBe(cell.step);
  });

  it('has one row for every cell', () => {
    const happenings = [
      sent,
      unsent,
      unknown,
      ...[-1, 40001, 41028, 41029, 43101, ...LASTING, ...PASSING].map(refusal),
    ];
    const names = cells.map(({ what, way, lost, tried, keyed }) => [what, way, lost, tried, keyed].join());
    expect(new Set(names).size).toBe(names.length);
    expect(names).toHaveLength(happenings.length * ways.length * 2 * 2 * 2);
  });

  it('tries each thing as often as it says, and no more', () => {
    const times = (attempt: AttemptResult, way: Way, lost: Row['lost']) => {
      let tried = NOTHING;
      for (let n = 0; n < 10; n++) {
        const step = nextStep(attempt, { ...context(way, { lost, tried: 'nothing' }, false), tried });
        if (step.do === 'settle') return n;
        tried = { ...tried, [step.do]: tried[step.do] + 1 };
      }
      return Infinity;
    };
    expect(times(refusal(-1), 'consent', 'no')).toBe(2);
    expect(times(refusal(40001), 'consent', 'no')).toBe(1);
    expect(times(refusal(41029), 'drawn form', 'no')).toBe(3);
    expect(times(unknown, 'drawn form', 'no')).toBe(2);
    expect(times(unknown, 'drawn form', 'maybe')).toBe(2);
  });
});

it.each(ways)('%s is repeated only where WeChat sees to it that it arrives once', (way) => {
  expect(isRepeatable(WAYS[way])).toBe(repeatable.some((one) => one === way));
});

describe('what an error says of the message', () => {
  it.each([
    ['unsent', unanswered('unsent'), unsent],
    ['unknown', unanswered('unknown'), unknown],
    ['an answer', upstreamError(47003), { kind: 'refused', reason: 'DATA_INVALID', recovery: 'never' }],
    ['a fault of ours', new TypeError('oops'), unknown],
  ] as const)('%s', (_, error, attempt) => {
    expect(resultOf(error)).toEqual(attempt);
  });
});
