import type { ConnectError } from '@connectrpc/connect';
import type { Clock } from '../core/kernel/clock.ts';
import type { Authenticate } from '../transport/head.ts';
import type { Service } from '../transport/service.ts';
import type { Tls } from './tls.ts';

/** What both listeners serve, and what they need for it. */
export interface Mount {
  readonly services: readonly Service[];
  /** Translates whatever a handler throws into the status that its caller gets. */
  readonly toError: (error: unknown) => ConnectError;
  /** Names that they answer to besides loopback's; see `guard`. Default: none. */
  readonly hosts?: readonly string[];
  /** Everyone is `local` and may do all: then nothing is served that a proxy passes on from elsewhere. Default: false. */
  readonly refuseForwarded?: boolean;
  /** Default: none. */
  readonly tls?: Tls | undefined;
  /** Finds out who makes a call, before its body is read. Default: everyone is `local`. */
  readonly authenticate?: Authenticate;
  /** Told of each finished call: `lingpai.v1.TokenService/Get`, `OK`, and its duration in milliseconds. */
  readonly rpc: (method: string, code: string, durationMs: number) => void;
  /** Told of a fault that no caller can be told of. */
  readonly report: (error: unknown) => void;
  readonly clock: Clock;
  /** Resolves when all else that is due has had its turn: what is large waits for it. Default: the next turn of the loop. */
  readonly pause?: () => Promise<void>;
  /** How long the rest of a request, or the reader of an answer, may keep a call waiting. Default: 30000. */
  readonly stallTimeoutMs?: number;
}

/** What waits for a peer that has not sent all of its request is let go of so long after a drain began, in milliseconds. */
export const LETTING_GO_MS = 5_000;

/** An address to listen on; port 0 has the system pick a free one. */
export interface Listen {
  readonly host: string;
  readonly port: number;
}

/** A listener that serves. */
export interface Listener {
  /** Where it listens, as `host:port` with the real port. */
  readonly address: string;
  /** Every path that it answers. */
  readonly paths: readonly string[];
  /** Says in health checks or readiness whether to send calls here. It begins with false, and serves calls regardless. */
  setServing(serving: boolean): void;
  /**
   * Takes another certificate or other client CAs into use. Nothing that is open ends, but that connections whose client
   * certificates are good no more take no new calls. Throws an Error that says what cannot be used: then all stays.
   */
  setTls(tls: Tls): void;
  /**
   * Stops accepting connections, lets calls in progress finish for at most `limitMs`, and then ends what is left.
   * Resolves when nothing is left.
   */
  drain(limitMs: number): Promise<void>;
  /** Ends everything at once. Resolves when nothing is left. */
  stop(): Promise<void>;
}
