/** What becomes of a parameter: other text in its place, nothing (null), or what it was (undefined). */
export type Change = (name: string, value: string) => string | null | undefined;

/**
 * A query, or a form, in which some parameters are changed. The others are as they were, byte for byte, in their order. `name` and
 * `value` are given decoded, a change is written as it is.
 */
export function changeParameters(text: string, change: Change): string {
  if (text === '') return text;
  const kept: string[] = [];
  for (const part of text.split('&')) {
    const equals = part.indexOf('=');
    const [name, value] = equals < 0 ? [part, ''] : [part.slice(0, equals), part.slice(equals + 1)];
    const changed = change(decoded(name), decoded(value));
    if (changed !== null) kept.push(changed ?? part);
  }
  return kept.join('&');
}

/** As a server may read it: what is no sound encoding stays as it is. */
export function decoded(text: string): string {
  if (!/[%+]/.test(text)) return text;
  const spaced = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(spaced);
  } catch {
    return spaced.replace(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  }
}
