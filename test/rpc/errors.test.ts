import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import { describe, expect, it } from 'vitest';
import { accessDeniedError, callerLimitedError, credentialsError, noRuleError } from '../../src/core/access/errors.ts';
import { LingpaiError, type Reason, withoutStack } from '../../src/core/kernel/errors.ts';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../src/gen/google/rpc/error_details_pb.js';
import { ErrorReasonSchema } from '../../src/gen/lingpai/v1/error_pb.js';
import { CODES, toConnectError } from '../../src/rpc/errors.ts';
import { codeName } from '../../src/transport/code-name.ts';

const PROTO = readFileSync(join(import.meta.dirname, '../../proto/lingpai/v1/error.proto'), 'utf8');

/** The status with which the comment of each reason begins. */
const PROMISED = [...PROTO.matchAll(/\n\n *\/\/ ([A-Z_]+)\. (?:.*\n *\/\/)*.*\n *ERROR_REASON_(\w+) = /g)].map(
  ([, code, reason]) => [reason as Reason, code] as const,
);

function translate(error: unknown): ConnectError {
  return toConnectError(error, (fault) => {
    throw new Error('reported', { cause: fault });
  });
}

describe('the table of reasons', () => {
  it('has exactly the reasons of ErrorReason', () => {
    const names = ErrorReasonSchema.values.filter(({ number }) => number !== 0).map(({ name }) => name);
    expect(Object.keys(CODES).map((reason) => `ERROR_REASON_${reason}`)).toEqual(names);
    expect(PROMISED).toHaveLength(names.length);
  });

  it.each(PROMISED)('%s is %s, as the proto says', (reason, code) => {
    const status = translate(new LingpaiError('words', { reason }));
    expect(codeName(status.code)).toBe(code);
    expect(status.rawMessage).toBe('words');
    expect(status.findDetails(ErrorInfoSchema)).toMatchObject([{ domain: 'lingpai', reason, metadata: {} }]);
  });
});

describe('details', () => {
  it('say what WeChat said, and of which app', () => {
    const answer = { errcode: 40164, errmsg: 'invalid ip 1.2.3.4', rid: '65a-1b-2c' };
    const status = translate(new LingpaiError('words', { reason: 'IP_NOT_ALLOWED', appId: 'wx1', answer }));
    expect(status.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({
      app_id: 'wx1',
      errcode: '40164',
      errmsg: 'invalid ip 1.2.3.4',
      rid: '65a-1b-2c',
    });
  });

  it('leave out a rid that WeChat did not give', () => {
    const answer = { errcode: -1, errmsg: 'system busy', rid: '' };
    const status = translate(new LingpaiError('words', { reason: 'UPSTREAM_BUSY', answer }));
    expect(status.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ errcode: '-1', errmsg: 'system busy' });
  });

  it('say when a retry can help, and only then', () => {
    const later = translate(new LingpaiError('words', { reason: 'COOLDOWN', retryAfterMs: 12_345.2 }));
    expect(later.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 12n, nanos: 346_000_000 });
    const never = translate(new LingpaiError('words', { reason: 'SECRET_INVALID' }));
    expect(never.findDetails(RetryInfoSchema)).toEqual([]);
  });

  it('name each field that breaks a rule', () => {
    const violations = [{ field: 'app_id', description: 'is required' }];
    const status = translate(new LingpaiError('words', { reason: 'INVALID_REQUEST', violations }));
    expect(status.findDetails(BadRequestSchema)).toMatchObject([{ fieldViolations: violations }]);
  });
});

describe('what is no LingpaiError', () => {
  it('is INTERNAL, goes to the log, and tells the caller nothing', () => {
    const reported: unknown[] = [];
    const fault = new TypeError('secret AppSecret in /etc/path');
    const status = toConnectError(fault, (error) => reported.push(error));
    expect(reported).toEqual([fault]);
    expect(status.code).toBe(Code.Internal);
    expect(status.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'INTERNAL', domain: 'lingpai' }]);
    const sent = status.details.map((detail) => detail.value);
    expect(JSON.stringify([status.message, sent, status.cause])).not.toMatch(/secret|etc/);
  });

  it.each([
    ['an abort', new DOMException('x', 'AbortError'), Code.Canceled],
    ['a time-out', new DOMException('x', 'TimeoutError'), Code.DeadlineExceeded],
    ['a status', new ConnectError('x', Code.Unimplemented), Code.Unimplemented],
  ])('%s keeps its meaning', (_, error, code) => {
    expect(translate(error).code).toBe(code);
  });
});

describe('what a caller did wrong', () => {
  const caller = { name: 'key:a', method: 'key', credentialId: 'a', expireTime: null } as const;
  const isTraced = ({ stack = '' }: Error) => stack.includes('\n    at ');

  it.each([
    ['is not believed', () => credentialsError('CREDENTIALS_INVALID')],
    ['may not', () => accessDeniedError(caller, 'read', 'wx1')],
    ['is named by no rule', () => noRuleError(caller)],
    ['calls too often', () => callerLimitedError('calls', 1)],
  ])('has no stack, which would cost ten times the rest: it %s', (_, made) => {
    expect(isTraced(made())).toBe(false);
    expect(isTraced(translate(made()))).toBe(false);
    expect(isTraced(new Error('a fault of ours'))).toBe(true);
  });

  it('leaves other errors theirs, also where it cannot be made', () => {
    expect(() =>
      withoutStack(() => {
        throw new RangeError();
      }),
    ).toThrow(RangeError);
    expect(isTraced(new Error('a fault of ours'))).toBe(true);
  });
});
