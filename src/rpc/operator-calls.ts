import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { Cleared } from '../core/operators/operators.ts';
import type { CallQuota, KnownRequest } from '../core/operators/ports.ts';
import type { Spent } from '../core/tokens/budget.ts';
import type { IssuerKind, Verdict } from '../core/tokens/ports.ts';
import * as pb from '../gen/lingpai/v1/admin_pb.js';
import { timestamp } from './token-messages.ts';
import { validateClearQuota, validateGetQuota, validateGetRequest, validateProbeToken } from './validate.ts';

/** What operators may ask WeChat: Operators. */
export interface OperatorsPort {
  quota(appId: string, cgiPath: string, signal: AbortSignal): Promise<CallQuota>;
  clearQuota(appId: string, signal: AbortSignal): Promise<Cleared>;
  request(appId: string, rid: string, signal: AbortSignal): Promise<KnownRequest>;
  probe(appId: string, token: string, signal: AbortSignal): Promise<Verdict>;
}

/** What these calls are made of. */
export interface OperatorCallsDeps {
  readonly operators: OperatorsPort;
  /** What was spent today of the broker's own budget of mints. */
  readonly mintBudget: (appId: string, issuer: IssuerKind) => Spent;
  readonly shutChannels: (appId: string) => MessageInitShape<typeof pb.ShutChannelSchema>[];
  /** Throws where the caller has lost its right while it waited. */
  readonly requireStill: (context: HandlerContext, appId: string) => void;
}

type Calls = Pick<ServiceImpl<typeof pb.AdminService>, 'getQuota' | 'clearQuota' | 'getRequest' | 'probeToken'>;

/** The paths of WeChat that fetch tokens. */
const TOKEN_PATHS: Readonly<Record<string, IssuerKind>> = {
  '/cgi-bin/token': 'classic',
  '/cgi-bin/stable_token': 'stable',
};

/** The methods of AdminService by which operators ask WeChat. */
export function operatorCalls({ operators, mintBudget, shutChannels, requireStill }: OperatorCallsDeps): Calls {
  return {
    async getQuota(request, context) {
      validateGetQuota(request);
      const { appId, cgiPath } = request;
      const quota = await operators.quota(appId, cgiPath, context.signal);
      requireStill(context, appId);
      const issuer = Object.hasOwn(TOKEN_PATHS, cgiPath) ? TOKEN_PATHS[cgiPath] : undefined;
      const budget = issuer && mintBudget(appId, issuer);
      return create(pb.GetQuotaResponseSchema, {
        dailyLimit: BigInt(quota.dailyLimit),
        used: BigInt(quota.used),
        remain: BigInt(quota.remain),
        shutChannels: shutChannels(appId),
        ...(budget && { mintBudget: { ...budget, resetTime: timestamp(budget.resetTime) } }),
      });
    },

    // What is done is done: whoever lost the right meanwhile is told of it.
    async clearQuota(request, context) {
      validateClearQuota(request);
      return create(pb.ClearQuotaResponseSchema, await operators.clearQuota(request.appId, context.signal));
    },

    async getRequest(request, context) {
      validateGetRequest(request);
      const { appId, rid } = request;
      const known = await operators.request(appId, rid, context.signal);
      requireStill(context, appId);
      const { invokeTime, costMs, url, clientIp, errcode, errmsg } = known;
      return create(pb.GetRequestResponseSchema, {
        ...(invokeTime !== null && { invokeTime: timestamp(invokeTime) }),
        ...(costMs !== null && { cost: durationFromMs(costMs) }),
        requestUrl: url,
        clientIp,
        ...(errcode !== null && { errcode }),
        errmsg,
      });
    },

    async probeToken(request, context) {
      validateProbeToken(request);
      const { appId, token } = request;
      const verdict = await operators.probe(appId, token, context.signal);
      requireStill(context, appId);
      return create(pb.ProbeTokenResponseSchema, verdict);
    },
  };
}
