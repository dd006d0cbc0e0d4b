import type { IncomingHttpHeaders } from 'node:http';
import type { ConnectError } from '@connectrpc/connect';
import { encodeEnvelope } from '@connectrpc/connect/protocol';
import {
  contentTypeStreamJson,
  contentTypeStreamProto,
  createEndStreamSerialization,
  endStreamFlag,
  parseContentType as parseConnect,
  parseTimeout as parseConnectTimeout,
} from '@connectrpc/connect/protocol-connect';
import {
  parseContentType as parseWeb,
  parseTimeout as parseWebTimeout,
  setTrailerStatus,
  trailerFlag,
  trailerSerialize,
  contentTypeJson as webJson,
  contentTypeProto as webProto,
} from '@connectrpc/connect/protocol-grpc-web';
import type { Codec } from './codec.ts';
import { LONGEST_MS } from './http-timeout.ts';

/** How a stream over HTTP is written: a protocol and a codec. */
export interface StreamFormat {
  readonly protocolName: string;
  readonly contentType: string;
  readonly codec: Codec;
  /** How long the caller says that it waits, at most as long as a timer can; undefined: for ever. Throws INVALID_ARGUMENT. */
  timeoutMs(headers: IncomingHttpHeaders): number | undefined;
  /** What is written after the last message: the trailers, and the error if there was one. */
  last(trailers: Headers, error: ConnectError | undefined): Uint8Array;
}

type Protocol = Omit<StreamFormat, 'contentType' | 'codec'>;

const endOfStream = createEndStreamSerialization(undefined);

const CONNECT: Protocol = {
  protocolName: 'connect',
  timeoutMs: (headers) => timeoutOf(headers['connect-timeout-ms'], parseConnectTimeout),
  last: (metadata, error) =>
    encodeEnvelope(endStreamFlag, endOfStream.serialize({ metadata, ...(error && { error }) })),
};

const GRPC_WEB: Protocol = {
  protocolName: 'grpc-web',
  timeoutMs: (headers) => timeoutOf(headers['grpc-timeout'], parseWebTimeout),
  last: (trailers, error) => encodeEnvelope(trailerFlag, trailerSerialize(setTrailerStatus(trailers, error))),
};

const FORMATS = {
  connectProto: { ...CONNECT, contentType: contentTypeStreamProto, codec: 'proto' },
  connectJson: { ...CONNECT, contentType: contentTypeStreamJson, codec: 'json' },
  webProto: { ...GRPC_WEB, contentType: webProto, codec: 'proto' },
  webJson: { ...GRPC_WEB, contentType: webJson, codec: 'json' },
} as const satisfies Record<string, StreamFormat>;

/** The format of a stream that is asked for with this content type; undefined: there is none. */
export function streamFormat(contentType: string | undefined): StreamFormat | undefined {
  const connect = parseConnect(contentType ?? null);
  if (connect?.stream) return connect.binary ? FORMATS.connectProto : FORMATS.connectJson;
  const web = parseWeb(contentType ?? null);
  if (web && !web.text) return web.binary ? FORMATS.webProto : FORMATS.webJson;
  return undefined;
}

function timeoutOf(header: string | string[] | undefined, parse: typeof parseConnectTimeout): number | undefined {
  if (header === undefined) return undefined;
  const { timeoutMs, error } = parse(String(header), Number.POSITIVE_INFINITY);
  if (error) throw error;
  return timeoutMs && Math.min(timeoutMs, LONGEST_MS);
}
