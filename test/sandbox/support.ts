import type { Random } from '../../src/core/kernel/clock.ts';
import { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { TokenCall } from '../../src/core/tokens/ports.ts';
import type { SandboxApp } from '../../src/sandbox/app.ts';
import type { Call, CallKind } from '../../src/sandbox/calls.ts';
import { BLANK, type Letter, type MessageKind } from '../../src/sandbox/message-call.ts';
import { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { FakeClock } from '../support/clock.ts';

export const appId = 'wx0000000000000001';
export const secret = 'correct horse';

/** The same numbers every time. */
export function seeded(seed = 1): Random {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

/** What WeChat says, as JSON. */
export interface Said {
  readonly errcode?: number;
  readonly errmsg?: string;
  readonly access_token?: string;
  readonly expires_in?: number;
  readonly ip_list?: readonly string[];
  readonly msgid?: number;
}

/** A message of no channel in particular. */
export const LETTER: Letter = {
  ...BLANK,
  toUser: 'oUser1',
  templateId: 'T1',
  data: { thing1: { value: 'Tea', color: '' } },
};

/** A simulated WeChat with one app on a driven clock, and short ways to call it. */
export function rig(settings: Partial<SandboxApp> = {}) {
  const clock = new FakeClock();
  const wechat = new SimulatedWeChat({ clock, random: seeded(), apps: [{ appId, secret, ...settings }] });

  function text(call: Call): string {
    const delivery = wechat.receive(call);
    if (delivery.kind !== 'answer') throw new Error(`no answer: ${delivery.kind}`);
    return delivery.text;
  }
  const say = (call: Call) => JSON.parse(text(call)) as Said;
  function ask(kind: TokenCall, change: { [K in 'appId' | 'secret' | 'grantType' | 'ip']?: string } = {}) {
    return say({ kind, grantType: 'client_credential', appId, secret, ip: '127.0.0.1', ...change });
  }
  /** A token that must come. */
  function token(kind: TokenCall): string {
    const { access_token: value, errcode } = ask(kind);
    if (!value) throw new Error(`no token but errcode ${errcode}`);
    return value;
  }
  const probe = (value: string) => say({ kind: 'probe', token: value, path: '/cgi-bin/get_api_domain_ip' });
  /** Sends a message with `bearer`, by default with a good token, and returns the errcode. */
  const send = (kind: MessageKind, change: Partial<Letter> = {}, bearer = token('stable')) =>
    say({ kind, token: bearer, letter: { ...LETTER, ...change } }).errcode;
  const honours = (...values: string[]) => values.map((value) => wechat.honours(appId, value));
  return { clock, wechat, text, ask, token, probe, send, honours };
}

/** A rough table, enough to see which errcode arrived where. */
export function toError(errcode: number, errmsg: string, call: CallKind): UpstreamError {
  return new UpstreamError(`${call}: ${errcode}`, {
    reason: 'UPSTREAM_ERROR',
    recovery: { kind: 'backoff' },
    effect: 'refused',
    answer: { errcode, errmsg, rid: '' },
  });
}

/** The reason and effect of the UpstreamError with which a call fails. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof UpstreamError)) throw new Error(`not an UpstreamError: ${error}`);
  return `${error.reason} ${error.effect}`;
}
