import { isIPv6 } from 'node:net';
import type { Recovery, UpstreamAnswer, UpstreamReason } from '../core/errors.ts';
import { UpstreamError } from '../core/errors.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const BACKOFF: Recovery = { kind: 'backoff' };
/** Configuration and account faults: only a person can end them, and a reload ends the pause. */
const OPERATOR: Recovery = { kind: 'pause', ms: 5 * MINUTE_MS };

/** What a code means, and on which calls it means that. */
interface Row {
  readonly codes: readonly number[];
  /** `token`: only as the answer of a token endpoint. `any`: from every call. */
  readonly from: 'token' | 'any';
  readonly reason: UpstreamReason;
  readonly recovery: Recovery;
  /** What is wrong and what an operator should do, in one or two sentences. */
  readonly advice: string | ((errmsg: string) => string);
}

/** WeChat's errcodes. A code that is not here keeps WeChat's own words and counts as transient. */
const ROWS: readonly Row[] = [
  {
    codes: [-1],
    from: 'any',
    reason: 'UPSTREAM_BUSY',
    recovery: BACKOFF,
    advice: 'WeChat says that it is busy.',
  },
  {
    codes: [40001, 40125],
    from: 'token',
    reason: 'SECRET_INVALID',
    recovery: OPERATOR,
    advice:
      "WeChat does not accept the AppSecret. Put the app's current one into the configuration; it changes whenever it is reset.",
  },
  {
    codes: [40013, 41002],
    from: 'token',
    reason: 'APP_ID_INVALID',
    recovery: OPERATOR,
    advice: 'WeChat does not know the app id. Check `app_id` in the configuration.',
  },
  {
    codes: [41004, 40002, 43002],
    from: 'token',
    reason: 'UPSTREAM_REQUEST_INVALID',
    recovery: OPERATOR,
    advice:
      'WeChat refuses how the request was made. Check that the configured secret is not empty, and that `upstream.base_url` and `upstream.proxy` pass requests on unchanged.',
  },
  {
    codes: [40164, 61004],
    from: 'any',
    reason: 'IP_NOT_ALLOWED',
    recovery: OPERATOR,
    advice: (errmsg) => {
      const ip = ipIn(errmsg);
      return ip === undefined
        ? "The broker's IP address is not on the app's allow-list. Add it in the WeChat console."
        : `The broker's IP address ${ip} is not on the app's allow-list. Add ${ip} in the WeChat console.`;
    },
  },
  {
    codes: [40243],
    from: 'token',
    reason: 'SECRET_FROZEN',
    recovery: OPERATOR,
    advice: 'The AppSecret is frozen. Unfreeze it in the WeChat console.',
  },
  {
    codes: [50004, 50007, 50002, 48004],
    from: 'any',
    reason: 'ACCOUNT_CLOSED',
    recovery: OPERATOR,
    advice:
      'WeChat has closed the account or the interface. Its notices in the WeChat console say why and for how long.',
  },
  {
    codes: [89501, 89503],
    from: 'token',
    reason: 'CONFIRMATION_REQUIRED',
    recovery: { kind: 'pause', ms: 10 * MINUTE_MS },
    advice: 'An administrator of the account must confirm this call: WeChat has sent the request to their phone.',
  },
  {
    codes: [89507],
    from: 'token',
    reason: 'CONFIRMATION_REFUSED',
    recovery: { kind: 'pause', ms: HOUR_MS },
    advice:
      'An administrator of the account refused this call. WeChat may be asked again in 1 hour; talk to them first.',
  },
  {
    codes: [89506],
    from: 'token',
    reason: 'CONFIRMATION_REFUSED',
    recovery: { kind: 'pause', ms: 24 * HOUR_MS },
    advice:
      'An administrator of the account refused this call twice. WeChat may be asked again in 24 hours; talk to them first.',
  },
  {
    codes: [45009],
    from: 'any',
    reason: 'DAILY_QUOTA_EXHAUSTED',
    recovery: { kind: 'daily_quota' },
    advice: "The app's daily quota of this call is spent. Look for other programs that fetch tokens of this app.",
  },
  {
    codes: [45011],
    from: 'any',
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    recovery: { kind: 'minute_quota' },
    advice:
      "The app's quota of this call for this minute is spent. Look for other programs that fetch tokens of this app.",
  },
];

const UNKNOWN: Omit<Row, 'codes' | 'from'> = {
  reason: 'UPSTREAM_ERROR',
  recovery: BACKOFF,
  advice: 'WeChat refused the call.',
};

const TOKEN_ROWS = new Map(ROWS.flatMap((row) => row.codes.map((code) => [code, row])));

/** The codes by which a business call says that WeChat refuses the token it was made with. */
export const TOKEN_REFUSED: ReadonlySet<number> = new Set([40001, 40014, 42001]);

/**
 * The error for an errcode that a token endpoint answered. Its effect is `refused`: WeChat minted nothing.
 * `errmsg` is WeChat's text; it is kept free of control characters and of `secrets`, and to 300 characters.
 */
export function tokenError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  const answer = upstreamAnswer(errcode, errmsg, secrets);
  const { reason, recovery, advice } = TOKEN_ROWS.get(errcode) ?? UNKNOWN;
  const words = typeof advice === 'string' ? advice : advice(answer.errmsg);
  const detail = [`errcode ${errcode}`, answer.errmsg, answer.rid && `rid ${answer.rid}`].filter(Boolean).join(', ');
  return new UpstreamError(`${words} (${detail})`, { reason, recovery, effect: 'refused', answer });
}

const MAX_ERRMSG = 300;
const RID = /[\s,;]*\brid:\s*([0-9a-z-]{1,64})\s*$/i;

function upstreamAnswer(errcode: number, raw: string, secrets: readonly string[]): UpstreamAnswer {
  let text = raw.replace(/\p{C}+/gu, ' ');
  for (const secret of secrets) {
    if (secret !== '')
      text = text.replaceAll(secret, '***').replaceAll(encodeURIComponent(secret.toWellFormed()), '***');
  }
  const rid = RID.exec(text);
  const errmsg = (rid ? text.slice(0, rid.index) : text).trim().slice(0, MAX_ERRMSG);
  return { errcode, errmsg, rid: rid?.[1] ?? '' };
}

function ipIn(errmsg: string): string | undefined {
  return /\d{1,3}(?:\.\d{1,3}){3}/.exec(errmsg)?.[0] ?? errmsg.split(/[\s,;[\]()]+/).find(isIPv6);
}
