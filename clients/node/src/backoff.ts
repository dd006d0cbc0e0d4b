import type { RpcError } from './errors.ts';
import type { Timing } from './options.ts';

const SLOW: ReadonlySet<string> = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED']);

/** How long to wait before the next stream (R5, R7, R8, R9): counts the failures in a row. */
export class Backoff {
  /** Attempts in a row that failed, in either lane. */
  failures = 0;
  #slow = 0;
  #fast = 0;
  readonly #timing: Timing;
  readonly #random: () => number;

  /** `random`: evenly from 0 to 1. */
  constructor(timing: Timing, random: () => number = Math.random) {
    this.#timing = timing;
    this.#random = random;
  }

  /** A stream lived for long enough to have been a good one. */
  reset(): void {
    [this.failures, this.#slow, this.#fast] = [0, 0, 0];
  }

  /** The pause after a failure, in milliseconds. `spoke`: the stream had brought a message. */
  after(error: RpcError, spoke: boolean): number {
    const { backoffBaseMs, backoffCapMs, backoffFloorMs, retryCapMs, slowMs, slowCapMs } = this.#timing;
    this.failures++;
    const asked = Math.min(error.retryAfterMs ?? 0, retryCapMs);
    if (isSlow(error, spoke)) return this.#spread(Math.max(asked, doubled(slowMs, this.#slow++, slowCapMs)));
    const bound = doubled(backoffBaseMs, this.#fast++, backoffCapMs);
    const pause = backoffFloorMs + this.#random() * Math.max(0, bound - backoffFloorMs);
    return pause >= asked ? pause : this.#spread(asked);
  }

  /** The pause that a goaway asks for. */
  goaway(ms: number): number {
    return Math.max(this.#timing.backoffFloorMs, Math.min(ms, this.#timing.goawayCapMs));
  }

  #spread(ms: number): number {
    return ms * (1 + this.#random() / 5);
  }
}

/** Whether somebody must mend something first. A credential that expired while it was used is only read anew. */
export function isSlow(error: RpcError, spoke: boolean): boolean {
  if (spoke && error.reason === 'CREDENTIALS_EXPIRED') return false;
  return error.isLocal || SLOW.has(error.code);
}

function doubled(ms: number, times: number, cap: number): number {
  return Math.min(cap, ms * 2 ** Math.min(times, 30));
}
