import type { Call, CallRecord, Counts } from './calls.ts';
import type { IssuedToken } from './chain.ts';

/** What of an answer is logged. */
export interface Logged {
  readonly errcode: number;
  readonly token?: IssuedToken;
  readonly minted?: boolean;
  readonly delivered?: boolean;
}

/** Calls that are kept. */
const KEPT = 10_000;

/** The last calls, and what is counted of them. */
export class CallLog {
  readonly calls: CallRecord[] = [];
  readonly #tell: (record: CallRecord) => void;

  constructor(tell: (record: CallRecord) => void) {
    this.#tell = tell;
  }

  /** A call was handled. Without an answer a fault took its place. */
  add(
    call: Call,
    counts: Counts,
    answer: Logged | undefined,
    rest: Pick<CallRecord, 'time' | 'appId' | 'fault'>,
  ): void {
    const minted = answer?.minted ?? false;
    counts[call.kind]++;
    if (minted) counts.mints++;
    if (answer?.delivered) counts.delivered++;
    const record: CallRecord = {
      ...rest,
      kind: call.kind,
      errcode: answer?.errcode ?? null,
      tokenId: answer?.token?.id ?? null,
      minted,
      ...(call.kind === 'other' && { path: call.path }),
    };
    if (this.calls.push(record) > KEPT) this.calls.shift();
    this.#tell(record);
  }
}
