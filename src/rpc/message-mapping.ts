import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { ConnectError } from '@connectrpc/connect';
import type { Channel, Message } from '../core/messages/message.ts';
import { newPermit } from '../core/messages/permits.ts';
import type { NewPermit, PermitKind, PermitTally } from '../core/messages/ports.ts';
import type { SendResult } from '../core/messages/sender.ts';
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb.js';
import * as pb from '../gen/lingpai/v1/message_pb.js';

const DAY_MS = 86_400_000;

const KINDS: Readonly<Record<PermitKind, pb.PermitKind>> = {
  form_id: pb.PermitKind.FORM_ID,
  prepay_id: pb.PermitKind.PREPAY_ID,
  consent: pb.PermitKind.CONSENT,
};
const ALL_KINDS = Object.keys(KINDS) as PermitKind[];

/** The message of a request that was validated. `caller`: whose it is; undefined where nobody asks. */
export function toMessage(request: pb.SendTemplateRequest, caller?: string): Message {
  const { appId, toUser, templateId, page, data, idempotencyKey } = request;
  const values = Object.entries(data).map(([name, { value, color }]) => [name, { value, color }] as const);
  return {
    ...(caller !== undefined && { caller }),
    appId,
    toUser,
    templateId,
    page,
    data: Object.fromEntries(values),
    idempotencyKey,
    channel: toChannel(request.channel),
  };
}

function toChannel({ case: kind, value }: pb.SendTemplateRequest['channel']): Channel {
  switch (kind) {
    case 'miniProgram':
      return { kind: 'mini_program', formId: value.formId, emphasisKeyword: value.emphasisKeyword };
    case 'subscribe':
      return { kind: 'subscribe', miniProgramState: value.miniProgramState, lang: value.lang };
    case 'officialAccount': {
      const { url, miniProgramAppId, miniProgramPage } = value;
      return { kind: 'official_account', url, miniProgramAppId, miniProgramPage };
    }
    case 'subscriptionNotice': {
      const { miniProgramAppId, miniProgramPage } = value;
      return { kind: 'subscription_notice', miniProgramAppId, miniProgramPage };
    }
    case undefined:
      throw new TypeError('a request without a channel was not validated');
  }
}

/** SendTemplate's answer. */
export function toSendTemplateResponse({ sent, replayed }: SendResult): pb.SendTemplateResponse {
  return create(pb.SendTemplateResponseSchema, { messageId: sent.messageId, replayed, rid: sent.rid });
}

/** The error that SendTemplate would have ended with, as a message of a stream. */
export function toSendFailure(error: ConnectError): pb.SendFailure {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const retry = error.findDetails(RetryInfoSchema)[0];
  return create(pb.SendFailureSchema, {
    code: error.code,
    reason: info?.reason ?? '',
    message: error.rawMessage,
    metadata: info?.metadata ?? {},
    ...(retry?.retryDelay && { retryAfter: retry.retryDelay }),
  });
}

/**
 * A permit that was validated. `now` is the wall-clock time, at which it was collected if it does not say when, or says a
 * time a little later; `newName` names a consent that has no name.
 */
export function toPermit(permit: pb.Permit, now: number, newName: () => string): NewPermit {
  const { toUser, value, templateId, collectTime } = permit;
  const kind = ALL_KINDS.find((each) => KINDS[each] === permit.kind);
  if (!kind) throw new TypeError('a permit without a kind was not validated');
  return newPermit({
    toUser,
    kind,
    value: value === '' ? newName() : value,
    templateId,
    collectTime: collectTime ? Math.min(now, timestampMs(collectTime)) : now,
  });
}

/** CountPermits' answer. */
export function toCountPermitsResponse(tallies: readonly PermitTally[]): pb.CountPermitsResponse {
  const counts = ALL_KINDS.flatMap((kind) => {
    const ofKind = tallies.filter((tally) => tally.kind === kind);
    if (ofKind.length === 0) return [];
    return [{ kind: KINDS[kind], messages: sum(ofKind, 'messages'), permits: sum(ofKind, 'permits') }];
  });
  const days = [...new Set(tallies.flatMap(({ expireDay }) => expireDay ?? []))].sort((a, b) => a - b);
  const expiries = days.map((day) => ({
    date: new Date(day * DAY_MS).toISOString().slice(0, 'YYYY-MM-DD'.length),
    messages: sum(
      tallies.filter(({ expireDay }) => expireDay === day),
      'messages',
    ),
  }));
  return create(pb.CountPermitsResponseSchema, { counts, expiries });
}

function sum(tallies: readonly PermitTally[], of: 'messages' | 'permits'): bigint {
  return BigInt(tallies.reduce((total, tally) => total + tally[of], 0));
}
