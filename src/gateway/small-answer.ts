import { Refused } from './answers.ts';
import type { Head, SmallAnswer } from './attempt.ts';
import type { ForwardedCall, Upstream } from './forwarded.ts';
import { headerOf } from './heads.ts';

/** The answer without secrets: most have none, and are not looked through. */
export function withoutSecretsIn(
  { head, body }: Pick<SmallAnswer, 'head' | 'body'>,
  secrets: readonly string[],
  kind: ForwardedCall['kind'],
  upstream: Upstream,
): Pick<SmallAnswer, 'head' | 'body'> {
  const encoding = encodingOf(head);
  if (kind === 'business' && encoding === '' && !secrets.some((secret) => body.includes(secret))) return { head, body };
  let redacted: Buffer | null;
  try {
    redacted = upstream.redactAnswer(body, encoding, secrets);
  } catch {
    if (kind === 'business') return { head, body };
    throw new Refused(-1, 'WeChat answered what cannot be read.');
  }
  if (redacted === null) return { head, body };
  const headers = head.headers.filter((_, i) => head.headers[i - (i % 2)]?.toLowerCase() !== 'content-encoding');
  return { head: { ...head, headers }, body: redacted };
}

/** The content-encoding; empty: none. */
export function encodingOf({ headers }: Head): string {
  const encoding = (headerOf(headers, 'content-encoding') ?? '').trim().toLowerCase();
  return encoding === 'identity' ? '' : encoding;
}
