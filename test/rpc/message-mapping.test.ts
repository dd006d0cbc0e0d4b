import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Channel } from '../../src/core/messages/message.ts';
import type { NewPermit } from '../../src/core/messages/ports.ts';
import { PermitKind, PermitSchema, SendTemplateRequestSchema } from '../../src/gen/lingpai/v1/message_pb.js';
import { toConnectError } from '../../src/rpc/errors.ts';
import { toCountPermitsResponse, toMessage, toPermit, toSendFailure } from '../../src/rpc/message-mapping.ts';

const NOW = Date.UTC(2026, 0, 15, 4);
const DAY = 86_400_000;

describe('a request becomes a message', () => {
  it.each<[Parameters<typeof create<typeof SendTemplateRequestSchema>>[1] & object, Channel]>([
    [
      { channel: { case: 'miniProgram', value: { formId: 'f', emphasisKeyword: 'k' } } },
      { kind: 'mini_program', formId: 'f', emphasisKeyword: 'k' },
    ],
    [
      { channel: { case: 'subscribe', value: { miniProgramState: 'trial', lang: 'zh_HK' } } },
      { kind: 'subscribe', miniProgramState: 'trial', lang: 'zh_HK' },
    ],
    [
      { channel: { case: 'officialAccount', value: { url: 'u', miniProgramAppId: 'a', miniProgramPage: 'p' } } },
      { kind: 'official_account', url: 'u', miniProgramAppId: 'a', miniProgramPage: 'p' },
    ],
    [
      { channel: { case: 'subscriptionNotice', value: { miniProgramAppId: 'a', miniProgramPage: 'p' } } },
      { kind: 'subscription_notice', miniProgramAppId: 'a', miniProgramPage: 'p' },
    ],
  ])('%j', (init, channel) => {
    const request = create(SendTemplateRequestSchema, {
      appId: 'wx1',
      toUser: 'o',
      templateId: 't',
      page: 'p',
      idempotencyKey: 'i',
      data: { k: { value: 'v', color: '#000000' } },
      ...init,
    });
    expect(toMessage(request)).toEqual({
      appId: 'wx1',
      toUser: 'o',
      templateId: 't',
      page: 'p',
      idempotencyKey: 'i',
      data: { k: { value: 'v', color: '#000000' } },
      channel,
    });
  });
});

describe('a permit', () => {
  const permit = (init: object) => toPermit(create(PermitSchema, { toUser: 'o', ...init }), NOW, () => 'new');

  it.each<[object, Partial<NewPermit>]>([
    [
      { kind: PermitKind.FORM_ID, value: 'f' },
      { kind: 'form_id', value: 'f', uses: 1, expireTime: NOW + 7 * DAY },
    ],
    [
      { kind: PermitKind.PREPAY_ID, value: 'f' },
      { kind: 'prepay_id', uses: 3, expireTime: NOW + 7 * DAY },
    ],
    [
      { kind: PermitKind.CONSENT, templateId: 't' },
      { kind: 'consent', value: 'new', uses: 1, expireTime: null },
    ],
    [
      { kind: PermitKind.CONSENT, templateId: 't', value: 'c' },
      { value: 'c', templateId: 't' },
    ],
    [
      { kind: PermitKind.FORM_ID, value: 'f', collectTime: timestampFromMs(NOW - 5) },
      { collectTime: NOW - 5, expireTime: NOW - 5 + 7 * DAY },
    ],
    // A clock that is ahead must not make a permit live longer.
    [{ kind: PermitKind.FORM_ID, value: 'f', collectTime: timestampFromMs(NOW + 60_000) }, { collectTime: NOW }],
  ])('%#', (init, expected) => {
    expect(permit(init)).toMatchObject({ toUser: 'o', ...expected });
  });
});

it('tallies are summed by kind and by day', () => {
  const day = Math.floor(Date.UTC(2026, 0, 31) / DAY);
  const answer = toCountPermitsResponse([
    { kind: 'prepay_id', expireDay: day + 1, permits: 2, messages: 5 },
    { kind: 'form_id', expireDay: day + 1, permits: 1, messages: 1 },
    { kind: 'consent', expireDay: null, permits: 4, messages: 4 },
    { kind: 'form_id', expireDay: day, permits: 3, messages: 3 },
  ]);
  expect(answer.counts.map(({ kind, messages, permits }) => [kind, messages, permits])).toEqual([
    [PermitKind.FORM_ID, 4n, 4n],
    [PermitKind.PREPAY_ID, 5n, 2n],
    [PermitKind.CONSENT, 4n, 4n],
  ]);
  expect(answer.expiries.map(({ date, messages }) => [date, messages])).toEqual([
    ['2026-01-31', 3n],
    ['2026-02-01', 6n],
  ]);
  expect(toCountPermitsResponse([])).toMatchObject({ counts: [], expiries: [] });
});

it('a failure is the error of SendTemplate, with all that it carries', () => {
  const error = new LingpaiError('wait', {
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    appId: 'wx1',
    answer: { errcode: 45011, errmsg: 'slow down', rid: 'r' },
    retryAfterMs: 1_500,
  });
  const failure = toSendFailure(toConnectError(error, () => {}));
  expect(failure).toMatchObject({
    code: 8,
    reason: 'MINUTE_QUOTA_EXHAUSTED',
    message: 'wait',
    metadata: { app_id: 'wx1', errcode: '45011', errmsg: 'slow down', rid: 'r' },
    retryAfter: { seconds: 1n, nanos: 500_000_000 },
  });
  const last = toSendFailure(toConnectError(new LingpaiError('no', { reason: 'INTERFACE_RETIRED' }), () => {}));
  expect([last.code, last.retryAfter]).toEqual([9, undefined]);
});
