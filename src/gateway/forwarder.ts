import type { IncomingMessage, ServerResponse } from 'node:http';
import { CoalescedTimers } from '../core/kernel/coalesced-timers.ts';
import { Refused } from './answers.ts';
import type { ForwardedCall, ForwarderDeps, Forwarding, ForwardResult } from './forwarded.ts';
import { decoded } from './parameters.ts';
import { Passage } from './passage.ts';
import { KeptBytes } from './request-body.ts';
import type { Alarm, Shared } from './shared.ts';

/** TRACE would show the token to whoever asks; CONNECT is no call. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Passes calls on to WeChat, with the token or the AppSecret in place and a refused token cured. */
export class Forwarder implements Forwarding {
  readonly #shared: Shared;
  readonly #ofApps = new Map<string, number>();
  #open = 0;

  constructor(deps: ForwarderDeps) {
    const { clock, limits } = deps;
    const ring = (alarm: Alarm): void => alarm.ring();
    this.#shared = {
      deps,
      kept: new KeptBytes(limits.keptBytes),
      stalls: new CoalescedTimers(clock, limits.stallTimeoutMs, ring),
      heads: new CoalescedTimers(clock, limits.headersTimeoutMs, ring),
    };
  }

  get open(): number {
    return this.#open;
  }

  /** Bytes of request bodies that are kept. */
  get keptBytes(): number {
    return this.#shared.deps.limits.keptBytes - this.#shared.kept.left;
  }

  async forward(request: IncomingMessage, response: ServerResponse, call: ForwardedCall): Promise<ForwardResult> {
    const { appId } = call;
    const ofApp = this.#ofApps.get(appId) ?? 0;
    const fault = faultOf(request, call) ?? this.#fullness(ofApp);
    const passage = new Passage(this.#shared, request, response, call);
    if (fault) return await passage.refuse(fault);
    this.#open++;
    this.#ofApps.set(appId, ofApp + 1);
    try {
      return await passage.run();
    } finally {
      this.#open--;
      const left = (this.#ofApps.get(appId) ?? 1) - 1;
      if (left === 0) this.#ofApps.delete(appId);
      else this.#ofApps.set(appId, left);
    }
  }

  #fullness(ofApp: number): Refused | undefined {
    const { calls, callsPerApp } = this.#shared.deps.limits;
    if (this.#open >= calls) return new Refused(-1, `The gateway has ${calls} calls under way: try again.`);
    if (ofApp >= callsPerApp) return new Refused(-1, `The app has ${callsPerApp} calls under way: try again.`);
    return undefined;
  }
}

/** Why a request is not passed on, whatever it asks. */
function faultOf({ method = '', headers }: IncomingMessage, { path, query }: ForwardedCall): Refused | undefined {
  if (!METHODS.has(method)) return new Refused(43002, `The method ${method} is not passed on to WeChat.`);
  if (!isPath(path)) return new Refused(40066, 'invalid url: a path begins with a slash and has no "." or ".." in it.');
  if (!/^[\x21-\xff]*$/.test(query)) return new Refused(40066, 'invalid url: a query has no spaces.');
  const coding = headers['transfer-encoding'];
  if (coding !== undefined && coding.trim().toLowerCase() !== 'chunked')
    return new Refused(47001, 'The only transfer-encoding that is understood is chunked.');
  return undefined;
}

/** What names one place whoever reads it: `..` would lead out of what a caller may reach, also where it is written as %2e. */
function isPath(path: string): boolean {
  if (!path.startsWith('/') || !/^[\x21-\xff]+$/.test(path) || path.includes('?') || path.includes('#')) return false;
  return !decoded(path)
    .split(/[/\\]/)
    .some((segment) => segment === '.' || segment === '..');
}
