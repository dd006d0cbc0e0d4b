import { expect } from 'vitest';
import type { Clock } from '../../src/core/kernel/clock.ts';
import { Operators, type OperatorsDeps } from '../../src/core/operators/operators.ts';
import type { CallQuota, KnownRequest, OperatorApi } from '../../src/core/operators/ports.ts';
import type { Registry } from '../../src/core/tokens/registry.ts';

/** Operators' calls of WeChat that take what they are given, and fail as the test says. */
export class FakeOperatorApi implements OperatorApi {
  /** Each call: what it was, and the token it was made by. */
  readonly calls: [kind: string, token: string][] = [];
  /** With what the next calls fail. */
  readonly failures: (Error | undefined)[] = [];

  async quota(_: unknown, __: string, token: string): Promise<CallQuota> {
    this.#called('quota', token);
    return { dailyLimit: 10, used: 3, remain: 7 };
  }

  async clearQuota(_: unknown, token: string): Promise<{ readonly errmsg: string }> {
    this.#called('clear_quota', token);
    return { errmsg: 'ok' };
  }

  async clearQuotaBySecret(): Promise<{ readonly errmsg: string }> {
    this.#called('clear_quota_v2', '');
    return { errmsg: 'ok' };
  }

  async request(_: unknown, __: string, token: string): Promise<KnownRequest> {
    this.#called('rid', token);
    return { invokeTime: null, costMs: null, url: '', clientIp: '', errcode: 45009, errmsg: '' };
  }

  #called(kind: string, token: string): void {
    this.calls.push([kind, token]);
    const failure = this.failures.shift();
    if (failure) throw failure;
  }
}

/** Operators' calls by the tokens of a broker. */
export function operatorsOf(
  { broker, clock }: { readonly broker: Registry; readonly clock: Clock },
  api: OperatorApi = new FakeOperatorApi(),
  onCleared: (appId: string) => void = () => {},
  probe: OperatorsDeps['probe'] = async () => ({ accepted: true }),
): Operators {
  return new Operators({
    clock,
    api,
    tokens: broker,
    probe,
    timeoutMs: 5_000,
    onCleared,
  });
}

const never = () => expect.fail('nothing is asked of WeChat here');

/** What AdminService has where no operator asks WeChat. */
export const NO_OPERATORS = {
  operators: { quota: never, clearQuota: never, request: never, probe: never },
  mintBudget: never,
};
