import { createHash } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { type CallEffect, UpstreamError, type UpstreamReason } from '../core/errors.ts';
import type { App, Grant, TokenCall, Verdict, WeChat } from '../core/ports.ts';
import type { Call, CallKind } from './calls.ts';
import type { SimulatedWeChat } from './wechat.ts';

/** What a SandboxWeChat needs. */
export interface SandboxWeChatOptions {
  readonly wechat: SimulatedWeChat;
  /** Measures latency; it need not be WeChat's clock. */
  readonly clock: Clock;
  /** What to make of an errcode, of a token call or of a probe. */
  readonly toError: (errcode: number, errmsg: string, call: CallKind) => UpstreamError;
  /** The caller's address, 127.0.0.1 by default. */
  readonly ip?: string;
}

const sizeCap = 64 * 1024;

/** The simulated WeChat as the core's port, without a network: latency and hanging calls are a matter of the clock alone. */
export class SandboxWeChat implements WeChat {
  readonly #options: SandboxWeChatOptions;

  constructor(options: SandboxWeChatOptions) {
    this.#options = options;
  }

  async fetchToken(app: App, call: TokenCall, signal: AbortSignal): Promise<Grant> {
    const { appId, secret } = app;
    const ip = this.#options.ip ?? '127.0.0.1';
    const body = await this.#ask({ kind: call, grantType: 'client_credential', appId, secret, ip }, signal);
    const { errcode = 0, errmsg = '', access_token: value, expires_in: seconds } = body;
    if (errcode !== 0) throw this.#options.toError(Number(errcode), String(errmsg), call);
    if (typeof value !== 'string' || value === '') throw malformed('has no access_token');
    if (typeof seconds !== 'number' || !(seconds > 0)) throw malformed('has no usable expires_in');
    return { value, id: createHash('sha256').update(value).digest('hex').slice(0, 12), lifetimeMs: seconds * 1000 };
  }

  async probe(token: string, signal: AbortSignal): Promise<Verdict> {
    const { errcode = 0, errmsg = '', ip_list: list } = await this.#ask({ kind: 'probe', token }, signal);
    if (errcode === 40001 || errcode === 40014 || errcode === 42001) return { accepted: false, errcode };
    if (errcode !== 0) throw this.#options.toError(Number(errcode), String(errmsg), 'probe');
    if (!Array.isArray(list)) throw malformed('has no ip_list');
    return { accepted: true };
  }

  async #ask(call: Call, signal: AbortSignal): Promise<Record<string, unknown>> {
    if (signal.aborted) throw timeout('unsent');
    const delivery = this.#options.wechat.receive(call);
    switch (delivery.kind) {
      case 'refused':
        throw failure('WeChat refuses connections', 'UPSTREAM_UNREACHABLE', 'unsent');
      case 'reset':
        throw failure('WeChat reset the connection', 'UPSTREAM_UNREACHABLE', 'unknown');
      case 'hang':
        return await new Promise((_, reject) => {
          signal.addEventListener('abort', () => reject(timeout('unknown')), { once: true });
        });
      case 'answer':
        if (delivery.afterMs > 0) await this.#pause(delivery.afterMs, signal);
        return parse(delivery.status, delivery.text);
    }
  }

  #pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = () => {
        timer.cancel();
        reject(timeout('unknown'));
      };
      const timer = this.#options.clock.schedule(ms, () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }
}

function parse(status: number, text: string): Record<string, unknown> {
  if (status !== 200) throw malformed(`has HTTP status ${status}`);
  if (Buffer.byteLength(text) > sizeCap) throw malformed('is larger than 64 KiB');
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw malformed('is not JSON');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw malformed('is not a JSON object');
  return body as Record<string, unknown>;
}

function malformed(what: string): UpstreamError {
  return failure(`WeChat's answer ${what}`, 'UPSTREAM_MALFORMED', 'unknown');
}

function timeout(effect: CallEffect): UpstreamError {
  return failure('WeChat did not answer in time', 'UPSTREAM_TIMEOUT', effect);
}

function failure(message: string, reason: UpstreamReason, effect: CallEffect): UpstreamError {
  return new UpstreamError(message, { reason, recovery: { kind: 'backoff' }, effect });
}
