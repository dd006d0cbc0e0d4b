import { toJson } from '@bufbuild/protobuf';
import { durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { AdminService, type GetRequestResponse, GetRequestResponseSchema } from '../gen/lingpai/v1/admin_pb.js';
import { type CallOptions, calling } from './client.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';

/** `lingpai rid APP RID`: what WeChat knows of a call that failed. */
export async function rid(
  appId: string,
  requestId: string,
  options: CallOptions & { timeout: number },
  io: Io,
): Promise<void> {
  const found = await calling(AdminService, options, io, (client) =>
    client.getRequest({ appId, rid: requestId }, { timeoutMs: options.timeout * 1000 }),
  );
  print(options.json ? jsonLine(toJson(GetRequestResponseSchema, found)) : asLines(linesOf(found)), io);
}

const NOT_SAID = 'WeChat does not say';

function linesOf({ invokeTime, cost, requestUrl, clientIp, errcode, errmsg }: GetRequestResponse): string[] {
  const lines = [
    ['time', invokeTime && new Date(timestampMs(invokeTime)).toISOString().replace(/\.\d+Z$/, 'Z')],
    ['took', cost && `${durationMs(cost)} ms`],
    ['request', requestUrl],
    ['came from', clientIp],
    ['errcode', errcode === undefined ? '' : String(errcode)],
    ['errmsg', errmsg],
  ];
  return lines.map(([name = '', value]) => `${name.padEnd(11)}${value || NOT_SAID}`);
}
