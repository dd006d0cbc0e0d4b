/** From here on two texts are too similar. */
export const TOO_SIMILAR = 0.75;

/**
 * How similar two texts are, 0 to 1: one less the share of the longer one's characters that must be inserted, left out or
 * replaced to make the other of it (Levenshtein distance). Case and the width of letters and digits do not count.
 */
export function similarity(a: string, b: string): number {
  const [from, to] = [[...fold(a)], [...fold(b)]];
  const longest = Math.max(from.length, to.length);
  return longest === 0 ? 1 : 1 - distance(from, to, longest) / longest;
}

/** Whether the similarity of two texts is `TOO_SIMILAR` or more. It looks no further than it must. */
export function isTooSimilar(a: string, b: string): boolean {
  const [from, to] = [[...fold(a)], [...fold(b)]];
  const longest = Math.max(from.length, to.length);
  const most = (1 - TOO_SIMILAR) * longest;
  return Math.abs(from.length - to.length) <= most && distance(from, to, most) <= most;
}

/** A text without what no reader would tell apart. */
export function fold(text: string): string {
  return text.normalize('NFKC').trim().toLowerCase();
}

/** Infinity: more than `most`. */
function distance(from: readonly string[], to: readonly string[], most: number): number {
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (const [i, character] of from.entries()) {
    const next = [i + 1];
    to.forEach((other, j) => {
      const replaced = (row[j] ?? 0) + (character === other ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    });
    if (Math.min(...next) > most) return Infinity;
    row = next;
  }
  return row.at(-1) ?? 0;
}
