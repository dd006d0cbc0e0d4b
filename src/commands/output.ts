import type { Io } from './io.ts';

/**
 * What a terminal acts on instead of showing it: control characters, escapes among them, and what ends lines or turns the
 * direction of text. Half a surrogate pair is no character.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u061C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB]/gu;

/** A text as one line that does nothing to a terminal: what would stands there as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, escaped);
}

/** Texts as lines, each of them printable and ended. */
export function asLines(texts: readonly string[]): string {
  return texts.map((text) => `${printable(text)}\n`).join('');
}

/** A value as a line of JSON that does nothing to a terminal and says the same. */
export function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replace(UNPRINTABLE, escaped)}\n`;
}

/** Writes lines to standard output, without what a terminal acts on. All that commands print goes through here. */
export function print(text: string, { stdout }: Pick<Io, 'stdout'>): void {
  stdout.write(harmless(text));
}

/** Writes lines to standard error, without what a terminal acts on. */
export function complain(text: string, { stderr }: Pick<Io, 'stderr'>): void {
  stderr.write(harmless(text));
}

function harmless(text: string): string {
  return text.replace(UNPRINTABLE, (character) => (character === '\n' ? character : escaped(character)));
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
