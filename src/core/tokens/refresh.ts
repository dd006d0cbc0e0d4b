import type { Timeline } from '../kernel/timeline.ts';
import type { AppRecord } from './app-record.ts';
import type { Coordinator } from './coordinator.ts';
import type { RefreshCause } from './events.ts';
import type { App, Deps, Settings, TokenCall } from './ports.ts';
import type { TokenHealth } from './token-health.ts';

/** How a refresh that did not fail ended. */
export type RefreshResult =
  /** There is a new generation. */
  | 'rotated'
  /** Another replica has brought a new generation. */
  | 'superseded'
  /** WeChat answered with the current token. */
  | 'unchanged'
  /** WeChat was asked about the token and accepts it. */
  | 'accepted'
  /** WeChat did not say whether it accepts the token. */
  | 'unknown'
  /** A changed secret was tried, and nothing else was asked for. */
  | 'tried';

/** One question to WeChat about a token. */
export interface Probe {
  /** Counts the app's probes from 1. */
  readonly number: number;
  /** Whose token it is about. */
  readonly generation: number;
}

/** The keeper, as its refreshes see it. */
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
  /** No refresh is in progress. */
  landed(): void;
  /** WeChat was asked with this configuration of the app, and said this: `error` undefined, a token. */
  tried(app: App, call: TokenCall, error?: unknown): void;
}

/** What an app's refreshes have in common. */
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
  /** Settles when the result has been published. A refresh that fails rejects for all who joined it. */
  readonly completion: Promise<RefreshResult>;
  /** Ends it; those who joined get `reason`. */
  abort(reason: Error): void;
}
