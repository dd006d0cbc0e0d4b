import type { UpstreamError } from '../core/kernel/errors.ts';
import { ROWS, TOKEN_REFUSED, tokenError } from './errcodes.ts';
import { type Meaning, type Row, rowsFrom, upstreamError } from './row.ts';

/** Operators' calls that are made by a token. */
export type OperatorCall = 'quota' | 'clear_quota' | 'rid';

const NEVER = { kind: 'never' } as const;

const CLEARS_SPENT: Omit<Row, 'from'> = {
  codes: [48006],
  reason: 'QUOTA_CLEARS_EXHAUSTED',
  recovery: NEVER,
  advice:
    "The app's quotas were cleared 10 times this month, and WeChat does so no more before the next. What is spent resets at midnight in Asia/Shanghai.",
};

/** What holds for each of the calls. */
function shared(from: OperatorCall): Row[] {
  return [
    {
      codes: [...TOKEN_REFUSED],
      from,
      reason: 'TOKEN_REFUSED',
      recovery: { kind: 'backoff' },
      advice: 'WeChat refuses the access_token that it was asked by.',
    },
    {
      codes: [45009],
      from,
      reason: 'DAILY_QUOTA_EXHAUSTED',
      recovery: { kind: 'daily_quota' },
      advice: "The app's daily quota of this very call is spent.",
    },
    {
      codes: [45011],
      from,
      reason: 'MINUTE_QUOTA_EXHAUSTED',
      recovery: { kind: 'minute_quota' },
      advice: "The app's quota of this very call for this minute is spent.",
    },
    {
      codes: [48001],
      from,
      reason: 'INTERFACE_NOT_GRANTED',
      recovery: { kind: 'pause', ms: 300_000 },
      advice: 'The account may not make this call.',
    },
  ];
}

function rid(code: number, advice: string): Row {
  return { codes: [code], from: 'rid', reason: 'RID_UNKNOWN', recovery: NEVER, advice };
}

function path(code: number, advice: string): Row {
  return { codes: [code], from: 'quota', reason: 'CGI_PATH_INVALID', recovery: NEVER, advice };
}

const OPERATOR_ROWS: readonly Row[] = [
  ...shared('quota'),
  ...shared('clear_quota'),
  ...shared('rid'),
  { ...CLEARS_SPENT, from: 'clear_quota' },
  {
    codes: [40013],
    from: 'clear_quota',
    reason: 'APP_ID_INVALID',
    recovery: NEVER,
    advice: "WeChat finds that the token is another app's. Check `app_id` in the configuration.",
  },
  path(76003, 'WeChat counts calls by a path that begins with a slash, such as /cgi-bin/message/subscribe/send.'),
  path(76021, 'WeChat knows no call of this path. Write it as its documentation does, without a query.'),
  path(76022, 'WeChat does not tell of calls of this kind (those below /sns/).'),
  rid(76001, 'WeChat knows no call of this rid. Copy the whole of it; it may also be older than 7 days.'),
  rid(76002, 'WeChat finds that this is no rid. Copy the whole of it: three hexadecimal numbers with hyphens.'),
  rid(76003, "This rid is of another app's call. Ask with the app that made it."),
  rid(76004, 'The call is older than 7 days, and WeChat has forgotten it.'),
  rid(76022, 'WeChat does not tell of calls of this kind (those below /sns/).'),
];

const UNKNOWN: Meaning = {
  reason: 'UPSTREAM_ERROR',
  recovery: { kind: 'backoff' },
  advice: 'WeChat refused the call.',
};

const ROWS_BY_CALL: Readonly<Record<OperatorCall, ReadonlyMap<number, Meaning>>> = {
  quota: rowsFrom([...ROWS, ...OPERATOR_ROWS], 'quota'),
  clear_quota: rowsFrom([...ROWS, ...OPERATOR_ROWS], 'clear_quota'),
  rid: rowsFrom([...ROWS, ...OPERATOR_ROWS], 'rid'),
};

/** What an errcode of an operator's call means, as `tokenError` does. */
export function operatorError(call: OperatorCall) {
  return (errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError =>
    upstreamError(ROWS_BY_CALL[call].get(errcode) ?? UNKNOWN, errcode, errmsg, secrets);
}

/** What an errcode of `/cgi-bin/clear_quota/v2` means, which looks at the AppSecret as the token endpoints do. */
export function clearBySecretError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  if (errcode === 48006) return upstreamError(CLEARS_SPENT, errcode, errmsg, secrets);
  return tokenError(errcode, errmsg, secrets);
}
