import type { Recovery, UpstreamError } from '../core/kernel/errors.ts';
import { ipIn, type Meaning, type Row, rowsFrom, upstreamError } from './row.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const BACKOFF: Recovery = { kind: 'backoff' };
/** Configuration and account faults: only a person can end them, and a reload ends the pause. */
const OPERATOR: Recovery = { kind: 'pause', ms: 5 * MINUTE_MS };
/** It lies in the message itself. */
const NEVER: Recovery = { kind: 'never' };

/** The codes by which a business call says that WeChat refuses the token it was made with. */
export const TOKEN_REFUSED: ReadonlySet<number> = new Set([40001, 40014, 42001]);

/**
 * WeChat's errcodes. A code that is not here keeps WeChat's own words; it counts as transient from a token endpoint and as
 * lasting from a message call.
 */
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
    from: 'token',
    reason: 'DAILY_QUOTA_EXHAUSTED',
    recovery: { kind: 'daily_quota' },
    advice:
      "The app's daily quota of this call is spent. The broker asks again within 15 minutes. To end it at once, clear the quota with /cgi-bin/clear_quota, or with /cgi-bin/clear_quota/v2, which takes the AppSecret in place of a token, and then run `lingpai refresh`. Look for other programs that fetch tokens of this app.",
  },
  {
    codes: [45011],
    from: 'token',
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    recovery: { kind: 'minute_quota' },
    advice:
      "The app's quota of this call for this minute is spent. Look for other programs that fetch tokens of this app.",
  },
  {
    codes: [45009],
    from: 'probe',
    reason: 'DAILY_QUOTA_EXHAUSTED',
    recovery: { kind: 'daily_quota' },
    advice:
      "The app's daily quota of get_api_domain_ip is spent, by which the broker asks whether a token works. /cgi-bin/clear_quota clears it.",
  },
  {
    codes: [45011],
    from: 'probe',
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    recovery: { kind: 'minute_quota' },
    advice:
      "The app's quota of get_api_domain_ip for this minute is spent, by which the broker asks whether a token works.",
  },
  {
    codes: [...TOKEN_REFUSED],
    from: 'message',
    reason: 'TOKEN_REFUSED',
    recovery: BACKOFF,
    advice: 'WeChat refuses the access_token that the message was sent with.',
  },
  {
    codes: [40003],
    from: 'message',
    reason: 'OPENID_INVALID',
    recovery: NEVER,
    advice: 'WeChat does not know the openid in `to_user`. Use the one by which this very app knows the user.',
  },
  {
    codes: [40037],
    from: 'message',
    reason: 'TEMPLATE_ID_INVALID',
    recovery: NEVER,
    advice: "WeChat does not know the `template_id`. Take it from this app's own templates in the WeChat console.",
  },
  {
    codes: [41030],
    from: 'message',
    reason: 'PAGE_INVALID',
    recovery: NEVER,
    advice:
      'WeChat does not accept the `page`. Name one that the released mini program has, which must be linked to the account.',
  },
  {
    codes: [40165],
    from: 'message',
    reason: 'PAGE_INVALID',
    recovery: NEVER,
    advice:
      'WeChat does not accept the URL of the page. Name a page that the released mini program has, or for channel `subscription_notice` a whole http:// or https:// URL.',
  },
  {
    codes: [47003],
    from: 'message',
    reason: 'DATA_INVALID',
    recovery: NEVER,
    advice: 'WeChat does not accept the `data`. Give each keyword of the template a value of its kind and length.',
  },
  {
    codes: [20002],
    from: 'message',
    reason: 'MESSAGE_REFUSED',
    recovery: NEVER,
    advice: 'WeChat finds a parameter of the message wrong. Check `template_id`, `data` and what the message opens.',
  },
  {
    codes: [41028],
    from: 'message',
    reason: 'FORM_ID_INVALID',
    recovery: NEVER,
    advice: "WeChat does not accept the form_id. It must be this user's and not older than 7 days.",
  },
  {
    codes: [41029],
    from: 'message',
    reason: 'FORM_ID_USED',
    recovery: NEVER,
    advice: 'The form_id has been used: a form is good for 1 message, a payment for 3.',
  },
  {
    codes: [43101],
    from: 'message',
    reason: 'CONSENT_MISSING',
    recovery: NEVER,
    advice:
      'The user has not agreed to this message, or has had all that they agreed to. The mini program, or a page of the official account, must ask them again.',
  },
  {
    codes: [43004],
    from: 'message',
    reason: 'USER_NOT_SUBSCRIBED',
    recovery: NEVER,
    advice: 'The user does not follow the official account. It can send them nothing until they do.',
  },
  {
    codes: [43107],
    from: 'message',
    reason: 'USER_OPTED_OUT',
    recovery: NEVER,
    advice: "The user has switched the account's notices off. It can send them none until they switch them on.",
  },
  {
    codes: [43117],
    from: 'message',
    reason: 'TOO_FREQUENT',
    recovery: { kind: 'pause', ms: MINUTE_MS },
    advice: 'WeChat finds that the user is sent messages too often. Send them fewer.',
  },
  {
    codes: [45009],
    from: 'message',
    reason: 'DAILY_QUOTA_EXHAUSTED',
    recovery: { kind: 'daily_quota' },
    advice: "The app's daily quota of messages is spent.",
  },
  {
    codes: [45011],
    from: 'message',
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    recovery: { kind: 'minute_quota' },
    advice: "The app's quota of messages for this minute is spent.",
  },
  {
    codes: [45103, 45109],
    from: 'message',
    reason: 'INTERFACE_RETIRED',
    recovery: NEVER,
    advice: 'WeChat has retired the interface: for channel `mini_program`, which ended on 2020-01-10, use `subscribe`.',
  },
  {
    codes: [48001],
    from: 'message',
    reason: 'INTERFACE_NOT_GRANTED',
    recovery: OPERATOR,
    advice:
      'The account may not call the interface, or is of the wrong kind for it: channels `mini_program` and `subscribe` are for mini programs, `official_account` and `subscription_notice` for official accounts.',
  },
  {
    codes: [...TOKEN_REFUSED],
    from: 'ticket',
    reason: 'TOKEN_REFUSED',
    recovery: BACKOFF,
    advice: 'WeChat refuses the access_token that the ticket was asked for with.',
  },
  {
    codes: [45009],
    from: 'ticket',
    reason: 'DAILY_QUOTA_EXHAUSTED',
    recovery: { kind: 'daily_quota' },
    advice:
      "The app's daily quota of getticket is spent. The broker asks again within 15 minutes; /cgi-bin/clear_quota clears it. Look for other programs that fetch tickets of this app.",
  },
  {
    codes: [45011],
    from: 'ticket',
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    recovery: { kind: 'minute_quota' },
    advice:
      "The app's quota of getticket for this minute is spent. Look for other programs that fetch tickets of this app.",
  },
  {
    codes: [48001],
    from: 'ticket',
    reason: 'INTERFACE_NOT_GRANTED',
    recovery: OPERATOR,
    advice: 'The account may not fetch tickets of this type: official accounts may, where WeChat has verified them.',
  },
  {
    codes: [40097],
    from: 'ticket',
    reason: 'UPSTREAM_REQUEST_INVALID',
    recovery: OPERATOR,
    advice: 'WeChat does not know this type of ticket for the account.',
  },
];

const UNKNOWN_TOKEN_CODE: Meaning = {
  reason: 'UPSTREAM_ERROR',
  recovery: BACKOFF,
  advice: 'WeChat refused the call.',
};

const UNKNOWN_PROBE_CODE: Meaning = {
  reason: 'UPSTREAM_ERROR',
  recovery: BACKOFF,
  advice: 'WeChat did not say whether it accepts the token.',
};

const UNKNOWN_TICKET_CODE: Meaning = {
  reason: 'UPSTREAM_ERROR',
  recovery: BACKOFF,
  advice: 'WeChat gave no ticket.',
};

const UNKNOWN_MESSAGE_CODE: Meaning = {
  reason: 'MESSAGE_REFUSED',
  recovery: NEVER,
  advice: 'WeChat refused the message.',
};

const TOKEN_ROWS = rowsFrom(ROWS, 'token');
const MESSAGE_ROWS = rowsFrom(ROWS, 'message');
const PROBE_ROWS = rowsFrom(ROWS, 'probe');
const TICKET_ROWS = rowsFrom(ROWS, 'ticket');

/**
 * The error for an errcode that a token endpoint answered. Its effect is `refused`: WeChat minted nothing.
 * `errmsg` is WeChat's text; it is kept free of control characters and of `secrets`, and to 300 characters.
 */
export function tokenError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  return upstreamError(TOKEN_ROWS.get(errcode) ?? UNKNOWN_TOKEN_CODE, errcode, errmsg, secrets);
}

/** The error for an errcode by which a probe gives no verdict, as `tokenError`'s: it says nothing of who fetches tokens. */
export function probeError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  return upstreamError(PROBE_ROWS.get(errcode) ?? UNKNOWN_PROBE_CODE, errcode, errmsg, secrets);
}

/** The error for an errcode that getticket answered, as `tokenError`'s: it says nothing of who fetches tokens. */
export function ticketError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  return upstreamError(TICKET_ROWS.get(errcode) ?? UNKNOWN_TICKET_CODE, errcode, errmsg, secrets);
}

/** The error for an errcode that a message call answered, as `tokenError`'s. Its effect is `refused`: WeChat sent nothing. */
export function messageError(errcode: number, errmsg: string, secrets: readonly string[] = []): UpstreamError {
  return upstreamError(MESSAGE_ROWS.get(errcode) ?? UNKNOWN_MESSAGE_CODE, errcode, errmsg, secrets);
}
