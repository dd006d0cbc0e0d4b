import { LingpaiError, type UpstreamError } from '../kernel/errors.ts';
import type { Channel, Message } from './message.ts';
import type { Outcome } from './ports.ts';

/** When to come back where nothing says how long it takes. */
const SOON_MS = 1_000;

type Refused = Extract<Outcome, { kind: 'refused' }>;

/** WeChat refused the message for what it is. */
export function refusedError({ appId, channel }: Pick<Message, 'appId' | 'channel'>, outcome: Refused): LingpaiError {
  const { reason, message, answer } = outcome;
  const field = fieldOf(outcome, channel);
  const violations = field === undefined ? [] : [{ field, description: message }];
  return new LingpaiError(message, { reason, appId, answer: answer ?? undefined, violations });
}

/** The field of the request that a refusal of WeChat's is about, in proto names. */
function fieldOf({ reason, answer }: Refused, channel: Channel): string | undefined {
  switch (reason) {
    case 'OPENID_INVALID':
      return 'to_user';
    case 'TEMPLATE_ID_INVALID':
      return 'template_id';
    case 'PAGE_INVALID':
      return pageField(channel);
    case 'DATA_INVALID': {
      // As in "argument invalid! data.thing1.value invalid".
      const [, keyword, part = ''] = /\bdata\.([\w-]{1,64})(\.value|\.color)?\b/.exec(answer?.errmsg ?? '') ?? [];
      return keyword === undefined ? 'data' : `data["${keyword}"]${part}`;
    }
  }
  return undefined;
}

/** The field that says what a message opens: the mini program's page where there is one, since it wins over the web page. */
function pageField(channel: Channel): string {
  switch (channel.kind) {
    case 'mini_program':
    case 'subscribe':
      return 'page';
    case 'official_account':
      return channel.miniProgramAppId === '' ? 'official_account.url' : 'official_account.mini_program_page';
    case 'subscription_notice':
      return channel.miniProgramAppId === '' ? 'page' : 'subscription_notice.mini_program_page';
  }
}

/** What to do about a quota that is spent. App ids are no secret. */
function quotaAdvice(appId: string): string {
  return ` WeChat is asked again within 15 minutes; whoever clears the quota (clear_quota) has it asked at once by "lingpai refresh ${appId}" or SIGHUP.`;
}

/** Messages like this one are not sent for now. `retryAfterMs` undefined: as the failure says. */
export function freedError(appId: string, failure: UpstreamError, retryAfterMs?: number): LingpaiError {
  const { message, reason, answer, recovery } = failure;
  const advice = reason === 'DAILY_QUOTA_EXHAUSTED' ? quotaAdvice(appId) : '';
  return new LingpaiError(message + advice, {
    reason,
    appId,
    answer,
    retryAfterMs: retryAfterMs ?? (recovery.kind === 'pause' ? recovery.ms : SOON_MS),
    cause: failure,
  });
}

/** The token was refused, and there is none newer: `cause` says why, where the replacement failed. */
export function tokenRefusedError(appId: string, failure: UpstreamError, cause: unknown): LingpaiError {
  const why = cause instanceof LingpaiError ? `, and it could not be replaced: ${cause.message}` : '';
  return new LingpaiError(`${failure.message}${why}`, {
    reason: 'TOKEN_REFUSED',
    appId,
    answer: failure.answer,
    retryAfterMs: (cause instanceof LingpaiError ? cause.retryAfterMs : undefined) ?? SOON_MS,
    cause,
  });
}

/**
 * Nobody knows. `retryAfterMs`: when a call with the same key can find out; undefined: none can. `of`: whose outcome it is.
 */
export function unknownError(
  appId: string,
  retryAfterMs: number | undefined,
  of: 'this call' | 'an earlier call' = 'this call',
): LingpaiError {
  const advice =
    retryAfterMs === undefined
      ? 'It is not sent again.'
      : 'A call with the same idempotency_key finds out, without sending it twice.';
  const request = of === 'this call' ? 'The request' : 'The request of an earlier call with this idempotency_key';
  return new LingpaiError(`${request} was written and no answer came: the message may have been sent. ${advice}`, {
    reason: 'DELIVERY_UNKNOWN',
    appId,
    retryAfterMs,
  });
}

/** The key is another message's. */
export function keyReusedError(appId: string): LingpaiError {
  const description = 'was used within 24 hours for a message with other content: give each message a key of its own';
  return new LingpaiError(`idempotency_key ${description}`, {
    reason: 'IDEMPOTENCY_KEY_REUSED',
    appId,
    violations: [{ field: 'idempotency_key', description }],
  });
}

/** The day's messages are sent. */
export function overQuotaError(appId: string, limit: number, retryAfterMs: number): LingpaiError {
  return new LingpaiError(`the app's own quota of ${limit} messages a day is spent (messages.daily_quota)`, {
    reason: 'SEND_QUOTA_EXHAUSTED',
    appId,
    retryAfterMs,
  });
}

/** So many wait that one more has no room. `what`: of what there are as many as may be. */
export function noRoomError(appId: string, what: string, retryAfterMs: number): LingpaiError {
  return new LingpaiError(`${what} are waiting for their turn: send more slowly`, {
    reason: 'SEND_LIMIT_EXCEEDED',
    appId,
    retryAfterMs: Math.max(SOON_MS, retryAfterMs),
  });
}

/** The app has as many permits as it may. */
export function permitLimitError(appId: string, limit: number): LingpaiError {
  return new LingpaiError(
    `the app would have more than ${limit} permits with uses left (messages.max_permits); none of this call was deposited. Those that expire are forgotten each night; or raise the limit.`,
    { reason: 'PERMIT_LIMIT_EXCEEDED', appId },
  );
}

/** There is nothing to send it with. */
export function permitMissingError(appId: string): LingpaiError {
  return new LingpaiError(
    'the request has no form_id, and the ledger no usable one of this user: deposit one, or use channel subscribe',
    { reason: 'PERMIT_MISSING', appId },
  );
}

/** The form_id of the request is another message's. */
export function permitTakenError(appId: string): LingpaiError {
  return new LingpaiError('another message that is not settled has the form_id of this request: use another', {
    reason: 'FORM_ID_USED',
    appId,
  });
}

/** What is not recorded is not sent. */
export function ledgerError(appId: string, cause: unknown): LingpaiError {
  return new LingpaiError('the ledger cannot be used, and this call has sent nothing', {
    reason: 'LEDGER_UNAVAILABLE',
    appId,
    retryAfterMs: SOON_MS,
    cause,
  });
}
