import type { DescService } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';

/** A service and its implementation. */
export interface Service<Desc extends DescService = DescService> {
  readonly desc: Desc;
  readonly impl: ServiceImpl<Desc>;
  /** What a request may be at most, by the local name of its method; without: MAX_MESSAGE_BYTES and any number of fields. */
  readonly limits?: Readonly<Record<string, RequestLimit>>;
  /** The local names of the methods that anyone may call, without being asked who they are. Default: none. */
  readonly open?: ReadonlySet<string>;
}

/** What a request may be at most. It is looked at before the request is decoded, which costs many times as much. */
export interface RequestLimit {
  readonly bytes: number;
  /** Fields on the wire, also of a message within, of which a list or a map has one for each entry. Default: any number. */
  readonly fields?: number;
}

/** The largest message either way, in bytes. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;

/**
 * Responses that a streaming handler may return instead of a plain AsyncIterable: they can be taken without waiting, and
 * their reader is woken when there may be one.
 */
export interface Feed<Response = unknown> extends AsyncIterable<Response> {
  /** Has `reader` woken, in place of the one before. */
  onNews(reader: { wake(): void }): void;
  /** The next response, or undefined when there is none now. Throws the error with which the call ends. */
  take(): Response | undefined;
  /** To be called when the response that was taken has left, before another is taken. */
  taken(): void;
}
