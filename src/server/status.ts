import type { OutgoingHttpHeaders } from 'node:http2';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { type ConnectError, encodeBinaryHeader } from '@connectrpc/connect';
import { StatusSchema } from '../gen/google/rpc/status_pb.js';
import { withHeaders } from './headers.ts';

/** The trailers of a call that went well. */
export const OK: OutgoingHttpHeaders = { 'grpc-status': '0' };

/** A ConnectError as gRPC's trailers: code, message, its metadata, and the details in `grpc-status-details-bin`. */
export function toTrailers(error: ConnectError): OutgoingHttpHeaders {
  // Half a surrogate pair cannot be encoded, and WeChat's words are part of the text. Clients decode by `decodeURI`, some
  // of them: what `encodeURIComponent` escapes beyond that would stay as it is.
  const message = error.rawMessage.toWellFormed();
  const details = error.details.map((detail) =>
    'desc' in detail
      ? anyPack(detail.desc, create(detail.desc, detail.value))
      : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
  );
  return withHeaders(error.metadata, {
    'grpc-status': String(error.code),
    'grpc-message': encodeURI(message),
    ...(details.length > 0 && {
      'grpc-status-details-bin': encodeBinaryHeader(
        create(StatusSchema, { code: error.code, message, details }),
        StatusSchema,
      ),
    }),
  });
}
