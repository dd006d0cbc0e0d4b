import { create, toBinary } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import { Metadata, type StatusObject } from '@grpc/grpc-js';
import { StatusSchema } from '../gen/google/rpc/status_pb.js';

/** The trailer in which gRPC carries a google.rpc.Status with its details. */
export const STATUS_DETAILS = 'grpc-status-details-bin';

/** A ConnectError as grpc-js sends it: code, message, and the details in `grpc-status-details-bin`. */
export function toStatus(error: ConnectError): StatusObject {
  // grpc-js throws on text with half a surrogate pair, and WeChat's words are part of the text.
  const message = error.rawMessage.toWellFormed();
  const metadata = new Metadata();
  const details = error.details.flatMap((detail) =>
    'desc' in detail ? [anyPack(detail.desc, create(detail.desc, detail.value))] : [],
  );
  if (details.length > 0) {
    const status = toBinary(StatusSchema, create(StatusSchema, { code: error.code, message, details }));
    metadata.set(STATUS_DETAILS, Buffer.from(status));
  }
  return { code: error.code as number, details: message, metadata };
}
