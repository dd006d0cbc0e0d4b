import { UpstreamError, type UpstreamReason } from '../kernel/errors.ts';

/** What WeChat says of a changed secret; `unknown`: it could not be asked, or says nothing of the secret. */
export type TrialResult = 'accepted' | 'refused' | 'unknown';

const ABOUT_THE_SECRET: ReadonlySet<UpstreamReason> = new Set([
  'SECRET_INVALID',
  'SECRET_FROZEN',
  'APP_ID_INVALID',
  'UPSTREAM_REQUEST_INVALID',
]);

/** A secret that was changed by a reload, until WeChat has accepted it. */
export class Trial {
  /** When it is tried beside the schedule, in elapsed milliseconds; Infinity: the schedule tries it. */
  at: number;
  failures = 0;
  #told: TrialResult | undefined;

  constructor(now: number) {
    this.at = now;
  }

  /** What a call with the secret says of it; undefined: nothing that was not told before. */
  judge(error: unknown): TrialResult | undefined {
    // A call that did not reach WeChat says nothing.
    if (error !== undefined && !(error instanceof UpstreamError)) return undefined;
    if (error !== undefined) this.failures++;
    const result = resultOf(error);
    if (result === this.#told) return undefined;
    this.#told = result;
    return result;
  }
}

function resultOf(error: UpstreamError | undefined): TrialResult {
  if (error === undefined) return 'accepted';
  return ABOUT_THE_SECRET.has(error.reason) ? 'refused' : 'unknown';
}
