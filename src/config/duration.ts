const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** How a duration is written in the config file: a whole number and its unit, `500ms`, `5s`, `15m`, `1h`. */
export const DURATION = /^(\d{1,9})(ms|s|m|h)$/;

/** Milliseconds of a duration as the config file writes it; undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = DURATION.exec(text) ?? [];
  return count === undefined || unit === undefined ? undefined : Number(count) * (UNITS[unit] ?? Number.NaN);
}
