import { mintWindowMs } from '../../src/core/cluster/mint-window.ts';
import type { Settings } from '../../src/core/tokens/ports.ts';

/** How long what must happen may take. Durations are in milliseconds. */
export interface Bounds {
  /**
   * Propagation: WeChat's answer, the write, the next poll of every replica, the way to its subscribers. Nothing that a
   * mint of ours does to a token may be seen for longer.
   */
  readonly propagationMs: number;
  /**
   * Takeover, on top of it where a replica was faulty: the others see that its beat stands still, wait until the patience
   * beyond is over, and may have to try WeChat once more.
   */
  readonly takeoverMs: number;
  /**
   * Detection, on top of it where nobody here can know: a mint outside, a token that WeChat revoked, a mint of a dead
   * replica that arrived after the confirming one. The next probe finds it; a cooldown, and on stable the spacing of forced
   * calls, may stand before the mint.
   */
  readonly detectionMs: number;
  /** The same where the replica whose turn it is cannot reach WeChat: the others probe beside it now and then. */
  readonly farDetectionMs: number;
  /** After so long a mint of unknown fate overlaps nothing any more. */
  readonly settledMs: number;
  /** How long WeChat honours the token before the newest. */
  readonly overlapMs: number;
  /** How far a reachable replica may be behind the store: a poll and its way, one command lost on it. */
  readonly behindMs: number;
  /** How much longer that may take when the way to the store was bad: a connection is made anew, a command given up. */
  readonly reconnectionMs: number;
  /** How long a debt may be unpaid after it was due. */
  readonly debtMs: number;
  /** How long two replicas may have to see each other before one may not mint beside the other. */
  readonly acquaintanceMs: number;
  /** Mints a day and app. */
  readonly dailyBudget: number;
  /** Forced calls a day and app. */
  readonly forceDailyBudget: number;
}

/** WeChat takes less than 1 s where it is well; a store command is given up after 1 s and tried again. */
const ANSWER_MS = 1_000;
const COMMAND_MS = 1_000;
/** A client of the store waits for so long at most before it connects again. */
const RECONNECTION_MS = 1_500;
/** The longest pause before a failed call is repeated. */
const BACKOFF_MS = 20_000;
/** Every so many of another's probes a replica makes one too. */
const PROBES_OF_OTHERS = 4;

export function boundsOf(settings: Settings, cluster: { leaseMs: number; pollMs: number }): Bounds {
  const { leaseMs, pollMs } = cluster;
  const { timeoutMs, probeIntervalMs, cooldownMs, overlapMs } = settings;
  const behindMs = pollMs + 2 * COMMAND_MS;
  // A forced mint is an intent, the call, a read, the outcome.
  const propagationMs = 2 * ANSWER_MS + 2 * COMMAND_MS + behindMs;
  const judgedMs = leaseMs + 2 * pollMs;
  return {
    propagationMs,
    takeoverMs: judgedMs + 2 * leaseMs + timeoutMs + BACKOFF_MS,
    detectionMs: probeIntervalMs + timeoutMs + 2 * cooldownMs,
    farDetectionMs: PROBES_OF_OTHERS * probeIntervalMs + timeoutMs + 2 * cooldownMs,
    settledMs: mintWindowMs(overlapMs),
    overlapMs,
    behindMs,
    reconnectionMs: RECONNECTION_MS + COMMAND_MS,
    debtMs: propagationMs + timeoutMs,
    acquaintanceMs: judgedMs + pollMs,
    dailyBudget: settings.dailyBudget,
    forceDailyBudget: settings.forceDailyBudget,
  };
}
