/** From here on two texts are too similar. */
export const TOO_SIMILAR = 0.75;

/** A folded text, by characters. */
export type Folded = readonly string[];

/**
 * Whether two texts are too similar: the share of the longer one's characters that must be inserted, left out or replaced to
 * make the other of it (Levenshtein distance) is 1 - `TOO_SIMILAR` or less. `spend` is told how many cells that took: for
 * texts of n characters at most n * (n / 2 + 1).
 */
export function isTooSimilar(a: Folded, b: Folded, spend: (cells: number) => void): boolean {
  const most = Math.floor((1 - TOO_SIMILAR) * Math.max(a.length, b.length));
  return Math.abs(a.length - b.length) <= most && isWithin(a, b, most, spend);
}

/** A text without what no reader would tell apart. It may be 18 times as long as the text. */
export function fold(text: string): string {
  return text.normalize('NFKC').trim().toLowerCase();
}

/** Whether the distance is `most` or less. Only cells are computed that are no further than that from the diagonal. */
function isWithin(from: Folded, to: Folded, most: number, spend: (cells: number) => void): boolean {
  const beyond = most + 1;
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  let next = new Array<number>(to.length + 1).fill(beyond);
  for (let i = 1; i <= from.length; i++) {
    const first = Math.max(1, i - most);
    const last = Math.min(to.length, i + most);
    next[first - 1] = first === 1 ? i : beyond;
    let least = next[first - 1] as number;
    for (let j = first; j <= last; j++) {
      const replaced = (row[j - 1] as number) + (from[i - 1] === to[j - 1] ? 0 : 1);
      // What is above the band's last cell was not computed.
      const omitted = j === i + most ? beyond : (row[j] as number) + 1;
      const cell = Math.min(replaced, omitted, (next[j - 1] as number) + 1);
      next[j] = cell;
      least = Math.min(least, cell);
    }
    spend(last - first + 1);
    if (least > most) return false;
    [row, next] = [next, row];
  }
  return (row[to.length] as number) <= most;
}
