import type { DescService } from '@bufbuild/protobuf';
import type { ConnectError, ContextValues, ServiceImpl } from '@connectrpc/connect';
import type { Principal } from '../core/access/principal.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { Authenticate } from './door.ts';

/** A service and its implementation. */
export interface Service<Desc extends DescService = DescService> {
  readonly desc: Desc;
  readonly impl: ServiceImpl<Desc>;
  /** What a request may be at most, by the local name of its method; without: MAX_MESSAGE_BYTES and any number of fields. */
  readonly limits?: Readonly<Record<string, RequestLimit>>;
}

/** What a request may be at most. It is looked at before the request is decoded, which costs many times as much. */
export interface RequestLimit {
  readonly bytes: number;
  /** Fields on the wire, also of a message within, of which a list or a map has one for each entry. Default: any number. */
  readonly fields?: number;
}

/** What a listener lets a streaming handler do to its call though it is suspended at a `yield`. */
export interface StreamControl {
  /** Has `release` called once when the call is over, however it ends, even if nobody reads it. */
  onClose(release: () => void): void;
  /** Ends the call with this error, as if it had been thrown, and frees what it holds even if the peer does not read. */
  end(error: unknown): void;
}

/**
 * Responses that a streaming handler may return instead of a plain AsyncIterable: they can be taken without waiting, and
 * their reader is woken when there may be one.
 */
export interface Feed extends AsyncIterable<unknown> {
  /** Has `reader` woken, in place of the one before. */
  onNews(reader: { wake(): void }): void;
  /** The next response, or undefined when there is none now. Throws the error with which the call ends. */
  take(): unknown;
  /** To be called when the response that was taken has left, before another is taken. */
  taken(): void;
}

/** What both listeners serve, and what they need for it. */
export interface Mount {
  readonly services: readonly Service[];
  /** Translates whatever a handler throws into the status that its caller gets. */
  readonly toError: (error: unknown) => ConnectError;
  /** Finds out who makes a call, before its body is read. Default: everyone is `local`. */
  readonly authenticate?: Authenticate;
  /** The context values of one call: its control, and who makes it (default: `local`). */
  readonly streamValues: (control: StreamControl, principal?: Principal) => ContextValues;
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

/** An address to listen on; port 0 has the system pick a free one. */
export interface Listen {
  readonly host: string;
  readonly port: number;
}

/** A listener that serves. */
export interface Listener {
  /** Where it listens, as `host:port` with the real port. */
  readonly address: string;
  /** Says in health checks or readiness whether to send calls here. It begins with false, and serves calls regardless. */
  setServing(serving: boolean): void;
  /**
   * Stops accepting connections, lets calls in progress finish for at most `limitMs`, and then ends what is left.
   * Resolves when nothing is left.
   */
  drain(limitMs: number): Promise<void>;
  /** Ends everything at once. Resolves when nothing is left. */
  stop(): Promise<void>;
}

/** The largest message either way, in bytes. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
