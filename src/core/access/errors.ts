import { LingpaiError, withoutStack } from '../kernel/errors.ts';
import type { CredentialFault } from './ports.ts';
import type { Principal } from './principal.ts';
import type { Verb } from './verbs.ts';

/** One text for each, whatever the cause: a stranger learns nothing by trying. */
const FAULTS: Readonly<Record<CredentialFault, string>> = {
  CREDENTIALS_MISSING: 'this call needs credentials: send "authorization: Bearer KEY", or a client certificate',
  CREDENTIALS_INVALID: 'the credentials are not accepted here',
  CREDENTIALS_EXPIRED: 'the credentials have expired; get new ones',
};

/** What the audit log is told of a credential that was good when its call began. */
export const LOST: Readonly<Record<CredentialFault, string>> = {
  CREDENTIALS_MISSING: 'the credential is good no longer',
  CREDENTIALS_INVALID: 'the credential was revoked or blocked while its call was under way',
  CREDENTIALS_EXPIRED: 'the credential expired while its call was under way',
};

/** Longer names are cut: an error travels in headers. An app id has at most 64 characters, and a name that is shorter is whole. */
const MAX_NAME = 256;
const MAX_APP_ID = 64;
const MAX_PATH = 128;

/** UNAUTHENTICATED: the caller is not believed. */
export function credentialsError(fault: CredentialFault): LingpaiError {
  return withoutStack(() => new LingpaiError(FAULTS[fault], { reason: fault }));
}

/** PERMISSION_DENIED. It is the same for an app that does not exist. `appId` is as it was asked for; `*`: all apps. */
export function accessDeniedError({ name }: Principal, verb: Verb, appId: string): LingpaiError {
  const [who, app] = [cut(name, MAX_NAME), cut(appId, MAX_APP_ID)];
  const message = `no rule of access.rules lets ${JSON.stringify(who)} ${verb} ${app === '*' ? 'all apps' : JSON.stringify(app)}`;
  return withoutStack(() => new LingpaiError(message, { reason: 'ACCESS_DENIED', appId: app }));
}

/** PERMISSION_DENIED: the caller may call WeChat for this app, and not there. */
export function pathDeniedError({ name }: Principal, appId: string, path: string): LingpaiError {
  const who = JSON.stringify(cut(name, MAX_NAME));
  const message = `no rule of access.rules lets ${who} call ${JSON.stringify(cut(path, MAX_PATH))} for ${JSON.stringify(cut(appId, MAX_APP_ID))}: see its paths`;
  return new LingpaiError(message, { reason: 'ACCESS_DENIED', appId: cut(appId, MAX_APP_ID) });
}

/** PERMISSION_DENIED: the call needs a caller that has a rule, whatever the rule allows. */
export function noRuleError({ name }: Principal): LingpaiError {
  const message = `no rule of access.rules names ${JSON.stringify(cut(name, MAX_NAME))}`;
  return withoutStack(() => new LingpaiError(message, { reason: 'ACCESS_DENIED' }));
}

/** When what was not recorded may be tried again. */
const AUDIT_RETRY_MS = 5_000;

/** UNAVAILABLE: what changes something for operators is not done where nobody could tell later who did it. */
export function auditUnavailableError(): LingpaiError {
  const message =
    'the audit log cannot be written, and without it this is not done: mend it (see the log of the broker)';
  return new LingpaiError(message, { reason: 'AUDIT_UNAVAILABLE', retryAfterMs: AUDIT_RETRY_MS });
}

/** RESOURCE_EXHAUSTED: one caller may not use so much. */
export function callerLimitedError(what: 'calls' | 'streams', retryAfterMs: number): LingpaiError {
  const words = {
    calls: 'this caller makes more calls a second than access.limits.calls',
    streams: 'this caller has as many streams open as access.limits.streams',
  };
  const message = `${words[what]} allows: try again later`;
  return withoutStack(() => new LingpaiError(message, { reason: 'CALLER_LIMITED', retryAfterMs }));
}

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}...`.toWellFormed();
}
