import type { OutgoingHttpHeaders } from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import { StatusSchema } from '../gen/google/rpc/status_pb.js';
import { withHeaders } from './headers.ts';

/** The trailers of a call that went well. */
export const OK: OutgoingHttpHeaders = { 'grpc-status': '0' };

/** A ConnectError as gRPC's trailers: code, message, its metadata, and the details in `grpc-status-details-bin`. */
export function toTrailers(error: ConnectError): OutgoingHttpHeaders {
  // Half a surrogate pair cannot be encoded, and WeChat's words are part of the text. Clients decode by `decodeURI`, some
  // of them: what `encodeURIComponent` escapes beyond that would stay as it is.
  const message = error.rawMessage.toWellFormed();
  const details = error.details.flatMap((detail) =>
    'desc' in detail ? [anyPack(detail.desc, create(detail.desc, detail.value))] : [],
  );
  return withHeaders(error.metadata, {
    'grpc-status': String(error.code),
    'grpc-message': encodeURI(message),
    ...(details.length > 0 && {
      'grpc-status-details-bin': Buffer.from(
        toBinary(StatusSchema, create(StatusSchema, { code: error.code, message, details })),
      ).toString('base64'),
    }),
  });
}
