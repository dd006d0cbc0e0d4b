import { stripVTControlCharacters } from 'node:util';

/** A table as lines of text: the header, then the rows, each column as wide as its widest cell. */
export function tableLines(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [header, ...rows];
  const widths = header.map((_, i) => lines.reduce((most, row) => Math.max(most, visible(row[i] ?? '').length), 0));
  return lines.map((row) =>
    row
      .map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - visible(cell).length))
      .join('  ')
      .trimEnd(),
  );
}

/** What of a text takes room on a terminal. */
export function visible(text: string): string {
  return stripVTControlCharacters(text);
}
