import { createHash } from 'node:crypto';
import type { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { App, Grant, TokenCall, Verdict, WeChat } from '../../src/core/tokens/ports.ts';
import type { Call, CallKind } from '../../src/sandbox/calls.ts';
import { ask, type Fields, type Line, malformed, parse } from '../../src/sandbox/line.ts';

/** What a SandboxWeChat needs. */
export interface SandboxWeChatOptions extends Line {
  /** What to make of an errcode, of a token call or of a probe. */
  readonly toError: (errcode: number, errmsg: string, call: CallKind) => UpstreamError;
  /** The caller's address, 127.0.0.1 by default. */
  readonly ip?: string;
}

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
    const {
      errcode = 0,
      errmsg = '',
      ip_list: list,
    } = await this.#ask({ kind: 'probe', token, path: '/cgi-bin/get_api_domain_ip' }, signal);
    if (errcode === 40001 || errcode === 40014 || errcode === 42001) return { accepted: false, errcode };
    if (errcode !== 0) throw this.#options.toError(Number(errcode), String(errmsg), 'probe');
    if (!Array.isArray(list)) throw malformed('has no ip_list');
    return { accepted: true };
  }

  async #ask(call: Call, signal: AbortSignal): Promise<Fields> {
    return parse(await ask(this.#options, call, signal));
  }
}
