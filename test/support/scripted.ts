import { createHash } from 'node:crypto';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { type Code, ConnectError } from '@connectrpc/connect';
import { ErrorInfoSchema, RetryInfoSchema } from '../../src/gen/google/rpc/error_details_pb.js';

/** The id of a token, as token.proto has it: made here, so that a broker of the tests does not ask the one under test. */
export function idOf(value: string): string {
  return createHash('sha256').update(value).digest('hex').slice(0, 12);
}

/** An error as a broker makes them. `retryMs`: what RetryInfo asks for; `appId`: the app that it is about. */
export function refusal(
  code: Code,
  reason: string,
  { retryMs, appId }: { readonly retryMs?: number; readonly appId?: string } = {},
): ConnectError {
  return new ConnectError(`scripted: ${reason}${appId ? ` ${appId}` : ''}`, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: 'lingpai', metadata: appId ? { app_id: appId } : {} } },
    ...(retryMs === undefined ? [] : [{ desc: RetryInfoSchema, value: { retryDelay: durationFromMs(retryMs) } }]),
  ]);
}
