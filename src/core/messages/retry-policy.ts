import { type Recovery, UpstreamError, type UpstreamReason } from '../kernel/errors.ts';
import type { Channel } from './message.ts';
import type { DrawnPermit, Settlement } from './ports.ts';

/** What came of one attempt to send a message. */
export type AttemptResult =
  | { readonly kind: 'sent' }
  /** WeChat answered that it did not send it. */
  | { readonly kind: 'refused'; readonly reason: UpstreamReason; readonly recovery: Recovery['kind'] }
  /** WeChat was not reached. */
  | { readonly kind: 'unsent' }
  /** It may have been sent. */
  | { readonly kind: 'unknown' };

/** All else that decides what follows. */
export interface AttemptContext {
  readonly channel: Channel['kind'];
  /** Null: WeChat may want none, or the ledger does not know the one in the request. */
  readonly permit: DrawnPermit | null;
  /** Whether the request named the permit, so that no other can take its place. */
  readonly named: boolean;
  readonly keyed: boolean;
  /** Whether an attempt before this one may have sent the message. */
  readonly maybeSent: boolean;
  /** How old the message will be, in milliseconds, when one more attempt ends; see `CLIENT_MSG_ID_MS`. */
  readonly ageMs: number;
  /** What this call has tried already. */
  readonly tried: Tried;
}

/** How often this call has tried again, by why. */
export interface Tried {
  /** WeChat was busy. */
  readonly retry: number;
  /** WeChat refused the token. */
  readonly refresh: number;
  /** WeChat refused the permit. */
  readonly redraw: number;
  /** Nobody knew whether it was sent. */
  readonly repeat: number;
}

/** What to do next. */
export type Step =
  /** `arrived`: it is sent, and the answer with its id was lost. */
  | {
      readonly do: 'settle';
      readonly as: 'sent' | 'arrived' | 'refused' | 'freed' | 'unknown';
      readonly permit: Settlement['permit'];
    }
  /** Send it once more after a backoff: `retry` since it was not sent, `repeat` since that does no harm. */
  | { readonly do: 'retry' | 'repeat' }
  /** Replace the token, and send it once more. */
  | { readonly do: 'refresh' }
  /** Draw the next permit, and send it once more. */
  | { readonly do: 'redraw' };

/**
 * How long a client_msg_id is safe to repeat. WeChat sends it once in 10 minutes; the last of them is left for a request
 * that is on its way for longer than its sender waits.
 */
export const CLIENT_MSG_ID_MS = 9 * 60_000;

/** How often one call tries again, at most. */
export const MOST: Tried = { retry: 2, refresh: 1, redraw: 3, repeat: 2 };

/** What came of an attempt that failed. An error that is no UpstreamError is the broker's own fault: the message may be sent. */
export function resultOf(error: unknown): Exclude<AttemptResult, { kind: 'sent' }> {
  if (!(error instanceof UpstreamError)) return { kind: 'unknown' };
  const { effect, reason, recovery } = error;
  return effect === 'refused' ? { kind: 'refused', reason, recovery: recovery.kind } : { kind: effect };
}

/** Whether WeChat itself sees to it that a message that is sent again arrives once. */
export function isRepeatable({
  channel,
  permit,
  ageMs,
}: Pick<AttemptContext, 'channel' | 'permit' | 'ageMs'>): boolean {
  switch (channel) {
    case 'official_account':
      return ageMs <= CLIENT_MSG_ID_MS;
    case 'mini_program':
      return permit?.kind === 'form_id';
    case 'subscribe':
    case 'subscription_notice':
      return false;
  }
}

/** The retry policy: what follows from an attempt. */
export function nextStep(attempt: AttemptResult, context: AttemptContext): Step {
  const { maybeSent } = context;
  switch (attempt.kind) {
    case 'sent':
      return { do: 'settle', as: 'sent', permit: 'spent' };
    case 'unknown':
      return inDoubt(context);
    case 'unsent':
      return maybeSent ? inDoubt(context) : { do: 'settle', as: 'freed', permit: 'returned' };
    case 'refused':
      return maybeSent ? refusedInDoubt(attempt, context) : refused(attempt, context);
  }
}

type Refused = Extract<AttemptResult, { kind: 'refused' }>;

/** No attempt has sent it. */
function refused({ reason, recovery }: Refused, { channel, permit, named, tried }: AttemptContext): Step {
  switch (reason) {
    case 'TOKEN_REFUSED':
      if (tried.refresh < MOST.refresh) return { do: 'refresh' };
      break;
    case 'UPSTREAM_BUSY':
      if (tried.retry < MOST.retry) return { do: 'retry' };
      break;
    case 'FORM_ID_INVALID':
    case 'FORM_ID_USED':
      if (channel !== 'mini_program') break;
      if (!permit || named) return { do: 'settle', as: 'refused', permit: 'void' };
      // The broker chose the permits, and not the caller: there may be a better one for the next attempt.
      return tried.redraw < MOST.redraw ? { do: 'redraw' } : { do: 'settle', as: 'freed', permit: 'void' };
    case 'CONSENT_MISSING':
      if (channel === 'subscribe' || channel === 'subscription_notice')
        return { do: 'settle', as: 'refused', permit: 'void' };
  }
  return { do: 'settle', as: isLasting(reason, recovery) ? 'refused' : 'freed', permit: 'returned' };
}

/** An attempt before this one may have sent it: of that a refusal says nothing, but for a form that has been used. */
function refusedInDoubt({ reason }: Refused, context: AttemptContext): Step {
  const { channel, permit, tried } = context;
  switch (reason) {
    case 'TOKEN_REFUSED':
      return tried.refresh < MOST.refresh ? { do: 'refresh' } : giveUp(context);
    case 'FORM_ID_USED':
      if (channel !== 'mini_program') break;
      return permit?.kind === 'form_id' && !permit.doubtful
        ? { do: 'settle', as: 'arrived', permit: 'spent' }
        : { do: 'settle', as: 'unknown', permit: 'void' };
    case 'FORM_ID_INVALID':
      // It may have been used before it expired.
      if (channel === 'mini_program') return { do: 'settle', as: 'unknown', permit: 'void' };
  }
  return reason === 'UPSTREAM_BUSY' ? inDoubt(context) : giveUp(context);
}

function inDoubt(context: AttemptContext): Step {
  const again = isRepeatable(context) && context.tried.repeat < MOST.repeat;
  return again ? { do: 'repeat' } : giveUp(context);
}

function giveUp(context: AttemptContext): Step {
  const heldForKey = context.keyed && isRepeatable(context);
  return { do: 'settle', as: 'unknown', permit: heldForKey ? 'held' : 'returned' };
}

function isLasting(reason: UpstreamReason, recovery: Recovery['kind']): boolean {
  return recovery === 'never' && reason !== 'TOKEN_REFUSED' && reason !== 'UPSTREAM_BUSY';
}
