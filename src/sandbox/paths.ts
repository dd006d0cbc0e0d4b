import type { CallKind } from './calls.ts';

/** An endpoint: what a call of it is, and by which method. */
export interface Endpoint {
  readonly kind: Exclude<CallKind, 'stable_force' | 'other'>;
  readonly method: 'GET' | 'POST' | 'any';
}

/** Every path that the simulated WeChat knows. */
export const ENDPOINTS: ReadonlyMap<string, Endpoint> = new Map([
  ['/cgi-bin/token', { kind: 'classic', method: 'GET' }],
  ['/cgi-bin/stable_token', { kind: 'stable', method: 'POST' }],
  ['/cgi-bin/get_api_domain_ip', { kind: 'probe', method: 'GET' }],
  ['/cgi-bin/getcallbackip', { kind: 'callback_ip', method: 'GET' }],
  ['/cgi-bin/message/wxopen/template/send', { kind: 'message_mini_program', method: 'POST' }],
  ['/cgi-bin/message/subscribe/send', { kind: 'message_subscribe', method: 'POST' }],
  ['/cgi-bin/message/template/send', { kind: 'message_official_account', method: 'POST' }],
  ['/cgi-bin/message/subscribe/bizsend', { kind: 'message_subscription_notice', method: 'POST' }],
  ['/cgi-bin/ticket/getticket', { kind: 'ticket', method: 'any' }],
  ['/cgi-bin/clear_quota', { kind: 'clear_quota', method: 'POST' }],
  ['/cgi-bin/clear_quota/v2', { kind: 'clear_quota_v2', method: 'POST' }],
  ['/cgi-bin/openapi/quota/get', { kind: 'quota', method: 'POST' }],
  ['/cgi-bin/openapi/rid/get', { kind: 'rid', method: 'POST' }],
  ['/cgi-bin/menu/get', { kind: 'menu', method: 'GET' }],
  ['/cgi-bin/media/upload', { kind: 'media_upload', method: 'POST' }],
  ['/cgi-bin/media/get', { kind: 'media_get', method: 'GET' }],
  ['/sns/jscode2session', { kind: 'jscode2session', method: 'GET' }],
  ['/sns/oauth2/access_token', { kind: 'oauth2', method: 'GET' }],
]);

/** The longest path that is a call. */
export const PATH_LENGTH = 256;
