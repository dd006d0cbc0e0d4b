import { isIPv6 } from 'node:net';
import { type Recovery, UpstreamError, type UpstreamReason } from '../core/kernel/errors.ts';
import { upstreamAnswer } from './errmsg.ts';

/** The kinds of calls that are answered with errcodes. */
export type Caller = 'token' | 'message' | 'probe' | 'ticket';

/** What a code means, and on which calls it means that. */
export interface Row {
  readonly codes: readonly number[];
  /** `token`: as the answer of a token endpoint. `message`: of a message call. `probe`: of the probe. `ticket`: of getticket. `any`: from every call. */
  readonly from: Caller | 'any';
  readonly reason: UpstreamReason;
  readonly recovery: Recovery;
  /** What is wrong and what an operator should do, in one or two sentences. */
  readonly advice: string | ((errmsg: string) => string);
}

/** What of a row an error is made of. */
export type Meaning = Omit<Row, 'codes' | 'from'>;

/** The rows that hold for the answers to one kind of call, by code. */
export function rowsFrom(all: readonly Row[], call: Caller): ReadonlyMap<number, Meaning> {
  const rows = all.filter(({ from }) => from === call || from === 'any');
  return new Map(rows.flatMap((row) => row.codes.map((code) => [code, row])));
}

/** The error that a code means. `errmsg` is WeChat's text; it is kept free of `secrets`. Its effect is `refused`. */
export function upstreamError(
  { reason, recovery, advice }: Meaning,
  errcode: number,
  errmsg: string,
  secrets: readonly string[],
): UpstreamError {
  const answer = upstreamAnswer(errcode, errmsg, secrets);
  const words = typeof advice === 'string' ? advice : advice(answer.errmsg);
  const detail = [`errcode ${errcode}`, answer.errmsg, answer.rid && `rid ${answer.rid}`].filter(Boolean).join(', ');
  return new UpstreamError(`${words} (${detail})`, { reason, recovery, effect: 'refused', answer });
}

/** The IP address that WeChat's text names; undefined: it names none. */
export function ipIn(errmsg: string): string | undefined {
  return /\d{1,3}(?:\.\d{1,3}){3}/.exec(errmsg)?.[0] ?? errmsg.split(/[\s,;[\]()]+/).find(isIPv6);
}
