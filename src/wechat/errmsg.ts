import type { UpstreamAnswer } from '../core/kernel/errors.ts';
import { redact } from './redact.ts';

const MAX_ERRMSG = 300;
/** Three hexadecimal numbers, which are no secret by their form. */
const RID = /\brid:\s{0,4}([0-9a-f]{1,16}(?:-[0-9a-f]{1,16}){2})$/i;
/** More than RID matches. No pattern looks at the whole of a text that others wrote: most take long with one made for it. */
const RID_WITHIN = 64;

/**
 * WeChat's errcode and errmsg as they may be shown. The rid at the text's end is taken off; the rest is free of `secrets` (see
 * `redact`) and of control characters and line ends, and is kept to 300 characters.
 */
export function upstreamAnswer(errcode: number, raw: string, secrets: readonly string[]): UpstreamAnswer {
  const { text, rid } = splitRid(raw);
  const errmsg = redact(text, secrets)
    .replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ')
    .trim()
    .slice(0, MAX_ERRMSG)
    // The first half of a character that the cut went through.
    .replace(/\p{Cs}$/u, '');
  return { errcode, errmsg, rid };
}

/** An errmsg, and the rid that stood at its end; empty: none did. */
export function splitRid(raw: string): { readonly text: string; readonly rid: string } {
  const whole = raw.trimEnd();
  const found = RID.exec(whole.slice(-RID_WITHIN));
  if (!found) return { text: raw, rid: '' };
  let end = whole.length - found[0].length;
  while (end > 0 && ' \t\r\n,;'.includes(whole.charAt(end - 1))) end--;
  return { text: whole.slice(0, end), rid: found[1] ?? '' };
}
