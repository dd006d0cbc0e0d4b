import { UpstreamError } from '../core/kernel/errors.ts';

/** An answer that is not what WeChat documents. `what` continues "WeChat answered ..." and quotes nothing of it. */
export function malformed(what: string): UpstreamError {
  return new UpstreamError(`WeChat answered ${what}.`, {
    reason: 'UPSTREAM_MALFORMED',
    recovery: { kind: 'backoff' },
    effect: 'unknown',
  });
}

/** WeChat documents answers of about one KiB. */
export const MAX_ANSWER_BYTES = 64 * 1024;

/** An answer of more than `MAX_ANSWER_BYTES`. */
export function tooLarge(): UpstreamError {
  return malformed('more than 64 KiB');
}
