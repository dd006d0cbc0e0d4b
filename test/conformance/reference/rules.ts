import type { Token, TokenState } from '../../../src/gen/lingpai/v1/token_pb.js';

/** The timing of clients/SPEC.md, in milliseconds, with its defaults. */
export const TIMING = {
  silenceMs: 25_000,
  connectMs: 5_000,
  callMs: 10_000,
  backoffBaseMs: 500,
  backoffCapMs: 10_000,
  backoffFloorMs: 100,
  lifeMs: 10_000,
  goawayCapMs: 60_000,
  retryCapMs: 300_000,
  slowMs: 30_000,
  slowCapMs: 300_000,
  appRetryMs: 60_000,
};
export type Timing = typeof TIMING;

/** Which rules are broken, by the names of switches.ts. */
export type Broken = (name: string) => boolean;

/** An error that the driver's protocol can tell. `retryMs` is what RetryInfo asked for. */
export class Fault extends Error {
  readonly kind: string;
  readonly code: string;
  readonly reason: string;
  readonly appId: string;
  readonly retryMs: number;

  constructor(kind: string, message: string, more: Partial<Pick<Fault, 'code' | 'reason' | 'appId' | 'retryMs'>> = {}) {
    super(message);
    this.kind = kind;
    this.code = more.code ?? '';
    this.reason = more.reason ?? '';
    this.appId = more.appId ?? '';
    this.retryMs = more.retryMs ?? 0;
  }
}

/** A token as it is held: `until` is on the monotonic clock, Infinity where it does not expire. */
export interface Held {
  readonly value: string;
  readonly generation: bigint;
  /** R13: readable until its grace is over. */
  readonly previous: { readonly value: string; readonly until: number } | undefined;
  readonly until: number;
}

/** R5: before attempt n that failed, n from 0. */
export function backoff(failures: number, timing: Timing, broken: Broken): number {
  if (broken('no-backoff')) return 0;
  const grown = timing.backoffBaseMs * 2 ** Math.min(failures, 30);
  const most = broken('no-cap') ? grown : Math.min(timing.backoffCapMs, grown);
  if (broken('no-jitter')) return most;
  return timing.backoffFloorMs + Math.random() * Math.max(0, most - timing.backoffFloorMs);
}

/** R9: the nth pause in the slow lane, n from 0. */
export function slowPause(n: number, timing: Timing): number {
  return Math.min(timing.slowCapMs, timing.slowMs * 2 ** Math.min(n, 30)) * (1 + Math.random() / 5);
}

/** R8: what RetryInfo makes of a pause. */
export function atLeast(pauseMs: number, retryMs: number, timing: Timing): number {
  const asked = Math.min(retryMs, timing.retryCapMs);
  return asked > pauseMs ? asked * (1 + Math.random() / 5) : pauseMs;
}

/** R3: for how long the state's token may be handed out, in milliseconds. */
export function lifeMs(token: Token, serverTime: { seconds: bigint; nanos: number } | undefined): number {
  if (token.expireTime === undefined) return Number.POSITIVE_INFINITY;
  const { seconds, nanos } = token.expireTime;
  const now = serverTime ?? { seconds: BigInt(Math.floor(Date.now() / 1_000)), nanos: 0 };
  return Number(seconds - now.seconds) * 1_000 + (nanos - now.nanos) / 1e6;
}

/** R10, R14: the state's generation, read as the switches say. */
export function generationOf(state: TokenState, broken: Broken): bigint {
  if (broken('generations-as-numbers')) return BigInt(Number(state.generation));
  if (broken('generations-signed')) return BigInt.asIntN(64, state.generation);
  return state.generation;
}
