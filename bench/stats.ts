/** The middle value; of an even number, the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const below = sorted[Math.ceil(middle) - 1] ?? Number.NaN;
  const above = sorted[Math.floor(middle)] ?? Number.NaN;
  return (below + above) / 2;
}

/** The value below which this share of the values lies. NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** The quotients of values that were measured in the same round. */
export function ratios(values: readonly number[], beside: readonly number[]): number[] {
  return values.map((value, round) => value / (beside[round] ?? Number.NaN));
}

/** The largest share of these moments that lies within any span of `width`. */
export function largestShare(moments: readonly number[], width: number): number {
  const sorted = moments.toSorted((a, b) => a - b);
  let first = 0;
  let most = 0;
  for (const [last, moment] of sorted.entries()) {
    while (moment - (sorted[first] ?? moment) > width) first++;
    most = Math.max(most, last - first + 1);
  }
  return most / sorted.length;
}

/** The time from the first of these moments to the last. */
export function span(moments: readonly number[]): number {
  return moments.reduce((a, b) => Math.max(a, b)) - moments.reduce((a, b) => Math.min(a, b));
}
