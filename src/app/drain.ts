import type { Clock } from '../core/kernel/clock.ts';
import type { Listener } from '../server/mount.ts';
import { within } from '../server/within.ts';

/** What is drained. */
export interface Drained {
  readonly listeners: readonly Pick<Listener, 'setServing' | 'drain'>[];
  /** Its calls are users of tokens too: a token that dies under one is still to be replaced. Undefined: there is none. */
  readonly gateway?: Pick<Listener, 'drain'> | undefined;
  /** Begins no message and no ticket more; resolves when none is under way. */
  readonly users: { drain(): Promise<void> };
  /** Sends each watch a goaway and ends it; resolves when `users` of tokens have ended and no refresh is in flight. */
  readonly broker: { drain(reconnectWithinMs: number, users: Promise<unknown>): Promise<void> };
  readonly clock: Clock;
  /** The bound of the random time after which watchers reconnect. Default 5000. */
  readonly reconnectWithinMs?: number;
  /** After this long what is left is ended. Default 24000: with what the process still does, it exits within 25 s. */
  readonly limitMs?: number;
}

/** The part of the limit after which messages and the gateway's calls get no new tokens, so that a refresh in flight still has time to land. */
const MESSAGES_SHARE = 0.5;
/** The part of the limit that is kept for the listeners when the broker takes long. */
const LISTENERS_SHARE = 0.2;

/**
 * Stops serving without losing anyone: health and readiness say no, watches get a goaway and end, the gateway takes no more calls,
 * its calls, messages and tickets under way and then refreshes in flight settle, connections are no longer accepted, calls in progress finish, and what is left at the limit is ended.
 * Resolves with whether the broker's refreshes settled in time.
 */
export async function drain({ listeners, gateway, users, broker, clock, ...options }: Drained): Promise<boolean> {
  const { reconnectWithinMs = 5_000, limitMs = 24_000 } = options;
  const end = clock.monotonic() + limitMs;
  for (const listener of listeners) listener.setServing(false);
  const called = gateway?.drain(limitMs);
  const used = within(clock, limitMs * MESSAGES_SHARE, Promise.all([users.drain(), called]));
  const settled = await within(clock, limitMs * (1 - LISTENERS_SHARE), broker.drain(reconnectWithinMs, used));
  await Promise.all([called, ...listeners.map((listener) => listener.drain(end - clock.monotonic()))]);
  return settled;
}
