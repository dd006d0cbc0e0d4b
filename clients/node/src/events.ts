/** What `onEvent` is told. A generation is a string; a token is named by its id. */
export type ClientEvent =
  | {
      readonly type: 'state';
      readonly app: string;
      readonly state: 'HELD' | 'NONE';
      readonly generation: string;
      readonly tokenId: string;
      readonly reason: string;
    }
  | { readonly type: 'reconnect' }
  | { readonly type: 'goaway'; readonly afterMs: number }
  | { readonly type: 'report'; readonly app: string; readonly outcome: string }
  | {
      readonly type: 'error';
      readonly during: 'watch' | 'get' | 'report';
      readonly code: string;
      readonly reason: string;
      readonly message: string;
      /** 0 where it is not tried again by itself. */
      readonly retryInMs: number;
    }
  | { readonly type: 'closed' };

/** How a client is doing. */
export interface Stats {
  readonly state: 'CONNECTING' | 'LIVE' | 'STALE' | 'CLOSED';
  /** Streams that were tried. */
  readonly attempts: number;
  /** Streams that brought a message after one was lost. */
  readonly reconnects: number;
  readonly goaways: number;
  /** Reports that were sent. */
  readonly reports: number;
  readonly apps: Readonly<Record<string, AppStats>>;
}

/** How an app is doing. */
export interface AppStats {
  readonly state: 'WAITING' | 'HELD' | 'NONE';
  readonly generation: string;
  readonly tokenId: string;
  readonly reason: string;
}
