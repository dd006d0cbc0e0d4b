import type { UpstreamAnswer } from '../core/kernel/errors.ts';

const MAX_ERRMSG = 300;
/** Three hexadecimal numbers, which are no secret by their form. */
const RID = /[\s,;]*\brid:\s*([0-9a-f]{1,16}(?:-[0-9a-f]{1,16}){2})\s*$/i;
/** What is shorter is a secret only where it stands alone; otherwise a test's form_id "f" would make WeChat's words unreadable. */
const SHORT = 4;

/**
 * WeChat's errcode and errmsg as they may be shown. The rid at the text's end is taken off; the rest is free of `secrets`, as
 * they are and percent-encoded, and of control characters, and is kept to 300 characters.
 */
export function upstreamAnswer(errcode: number, raw: string, secrets: readonly string[]): UpstreamAnswer {
  const rid = RID.exec(raw);
  const text = redact(rid ? raw.slice(0, rid.index) : raw, secrets);
  const errmsg = text
    .replace(/\p{C}+/gu, ' ')
    .trim()
    .slice(0, MAX_ERRMSG);
  return { errcode, errmsg, rid: rid?.[1] ?? '' };
}

function redact(text: string, secrets: readonly string[]): string {
  // The longest first: one may hold another, of which nothing must be left.
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, encodeURIComponent(secret.toWellFormed())])
    .sort((a, b) => b.length - a.length);
  return forms.reduce((rest, form) => rest.replaceAll(form.length < SHORT ? standingAlone(form) : form, '***'), text);
}

function standingAlone(word: string): RegExp {
  return new RegExp(`(?<![\\w-])${RegExp.escape(word)}(?![\\w-])`, 'g');
}
