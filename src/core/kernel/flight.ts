import type { AppRecord } from '../tokens/app-record.ts';
import type { Coordinator } from '../tokens/coordinator.ts';
import type { RefreshCause } from '../tokens/events.ts';
import type { App, Deps, Settings, TokenCall } from '../tokens/ports.ts';
import type { TokenHealth } from '../tokens/token-health.ts';
import type { Clock } from './clock.ts';
import type { Timeline } from './timeline.ts';

/** How a flight that did not fail ended. */
export type RefreshResult =
  /** There is a new generation. */
  | 'rotated'
  /** Another replica has brought a new generation. */
  | 'superseded'
  /** WeChat answered with the token that is held. */
  | 'unchanged'
  /** WeChat was asked about the token and accepts it. */
  | 'accepted'
  /** WeChat did not say whether it accepts the token. */
  | 'unknown'
  /** A changed secret was tried, and nothing else was asked for. */
  | 'tried';

/** One question to WeChat about a token. */
export interface Probe {
  /** The how-manieth of the app. */
  readonly number: number;
  /** Whose token it is about. */
  readonly generation: number;
}

/** The keeper, as its flights see it. */
export interface RefreshOwner {
  app(): App;
  read(): AppRecord;
  /** Whether there is a usable token that WeChat accepts, as far as anyone knows. */
  hasGood(): boolean;
  /** A clock may have jumped. */
  catchUp(): void;
  /** What callers see may have changed. */
  publish(): void;
  /** Nothing that is due is begun for so long. */
  pause(ms: number): void;
  /** No flight is left. */
  landed(): void;
  /** WeChat was asked with this configuration of the app, and said this: `error` undefined, a token. */
  tried(app: App, call: TokenCall, error?: unknown): void;
}

/** What an app's flights have in common. */
export interface RefreshParts {
  readonly deps: Deps;
  readonly settings: Settings;
  readonly timeline: Timeline;
  readonly coordinator: Coordinator;
  readonly tokenHealth: TokenHealth;
  readonly owner: RefreshOwner;
}

/** One refresh in progress, shared by all who want its result. */
export interface Refresh {
  readonly cause: RefreshCause;
  /** How it asked WeChat about the token; undefined: it has not. */
  probe?: Probe;
  /** Settles when the flight's result has been published. A failed flight rejects for all who joined. */
  readonly completion: Promise<RefreshResult>;
  /** Ends the flight; those who joined get `reason`. */
  abort(reason: Error): void;
}

/** Waits for what others wait for too. When `signal` aborts, this caller alone leaves, with the signal's reason. */
export function join<T>(shared: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return shared;
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
  });
}

/** Runs one call under a deadline of its own, and under the flight's signal. */
export async function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  refresh: AbortSignal,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abort = () => controller.abort(refresh.reason);
  const timer = clock.schedule(timeoutMs, () => controller.abort(new Error('deadline exceeded')));
  refresh.addEventListener('abort', abort, { once: true });
  if (refresh.aborted) abort();
  try {
    return await call(controller.signal);
  } finally {
    timer.cancel();
    refresh.removeEventListener('abort', abort);
  }
}
