import { toJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import {
  AdminService,
  ClearQuotaResponseSchema,
  type GetQuotaResponse,
  GetQuotaResponseSchema,
} from '../gen/lingpai/v1/admin_pb.js';
import { type CallOptions, calling } from './client.ts';
import { confirm, requireAnswerable } from './confirm.ts';
import type { Io } from './io.ts';
import { asLines, jsonLine, print } from './output.ts';
import { span } from './show.ts';
import { shutText } from './status.ts';

/** `lingpai quota APP PATH`: how often a call of WeChat may be made today, and was. */
export async function quota(
  appId: string,
  cgiPath: string,
  options: CallOptions & { timeout: number },
  io: Io,
): Promise<void> {
  const found = await calling(AdminService, options, io, (client) =>
    client.getQuota({ appId, cgiPath }, { timeoutMs: options.timeout * 1000 }),
  );
  if (options.json) print(jsonLine(toJson(GetQuotaResponseSchema, found, { alwaysEmitImplicit: true })), io);
  else print(asLines(quotaLines(appId, found, Date.now())), io);
}

function quotaLines(
  appId: string,
  { dailyLimit, used, remain, shutChannels, mintBudget }: GetQuotaResponse,
  now: number,
) {
  const lines = [`WeChat: ${used} of ${dailyLimit} used today, ${remain} left`];
  if (mintBudget) {
    const { used: mints, dailyLimit: most, resetTime } = mintBudget;
    const reset = resetTime ? `; it begins anew in ${span(timestampMs(resetTime) - now)}` : '';
    lines.push(`the broker's own budget: ${mints} of ${most} mints made today${reset}`);
  }
  return [...lines, ...shutChannels.map((shut) => shutText(appId, shut, now))];
}

/** The flags of `lingpai quota clear`. */
export interface ClearOptions extends CallOptions {
  readonly timeout: number;
  readonly yes?: boolean;
}

/** `lingpai quota clear APP`: has WeChat forget what was counted today. */
export async function clearQuota(appId: string, options: ClearOptions, io: Io): Promise<void> {
  requireAnswerable(options.yes, io);
  const question = `This clears what WeChat has counted today of all calls of ${appId}. It may be done 10 times a month. Clear it?`;
  await confirm(question, 'nothing was cleared', options.yes, io);
  const cleared = await calling(AdminService, options, io, (client) =>
    client.clearQuota({ appId }, { timeoutMs: options.timeout * 1000 }),
  );
  if (options.json) {
    print(jsonLine(toJson(ClearQuotaResponseSchema, cleared, { alwaysEmitImplicit: true })), io);
    return;
  }
  const { errmsg, bySecret } = cleared;
  const how = bySecret ? ', by the AppSecret, since the quota was in the way of a token' : '';
  const told = ['', 'ok'].includes(errmsg)
    ? 'WeChat does not say how many of the 10 clears a month are left'
    : `WeChat says: ${errmsg}`;
  const then = 'the broker tries again what it had put off: refreshes at once, messages with the next one';
  print(asLines([`cleared${how}`, told, then]), io);
}
