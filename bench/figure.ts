import { median } from './stats.ts';

/** How a figure is compared. */
export type Limit = { readonly atLeast: number } | { readonly atMost: number } | { readonly below: number };

/** One measured figure. Its value is the median of its rounds. */
export interface Figure {
  readonly name: string;
  /** `x` for a ratio, else the unit of the value. */
  readonly unit: 'x' | 'ms' | 's' | '/s' | '%' | 'bytes';
  readonly rounds: readonly number[];
  /** Undefined: nothing is demanded, it is there to help understand the others. */
  readonly limit?: Limit;
  /** What it was computed from, in words. */
  readonly detail: string;
}

/** A figure as it is printed and written. */
export interface Result extends Figure {
  readonly value: number;
  readonly verdict: 'ok' | 'missed' | '';
}

/** Judges a figure. */
export function toResult(figure: Figure): Result {
  const value = median(figure.rounds);
  if (!Number.isFinite(value))
    throw new Error(`${figure.name}: there is no value; rounds: ${figure.rounds.join(', ')}`);
  return { ...figure, value, verdict: figure.limit ? (keeps(value, figure.limit) ? 'ok' : 'missed') : '' };
}

/** The results as a table for people. */
export function table(results: readonly Result[]): string {
  const rows = results.map(({ name, unit, value, rounds, limit, verdict, detail }) => [
    name,
    show(value, unit),
    rounds.length > 1 ? `${show(Math.min(...rounds), unit)} .. ${show(Math.max(...rounds), unit)}` : '',
    limit ? showLimit(limit, unit) : '',
    verdict,
    detail,
  ]);
  const lines = [['figure', 'median', 'rounds', 'limit', 'verdict', 'of'], ...rows];
  const widths = lines[0]?.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0))) ?? [];
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A number as people read it: 1,234 or 12.3 or 0.123. */
export function round(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toLocaleString('en', { maximumFractionDigits: digits });
}

function keeps(value: number, limit: Limit): boolean {
  if ('atLeast' in limit) return value >= limit.atLeast;
  return 'atMost' in limit ? value <= limit.atMost : value < limit.below;
}

function showLimit(limit: Limit, unit: Figure['unit']): string {
  if ('atLeast' in limit) return `>= ${show(limit.atLeast, unit)}`;
  return 'atMost' in limit ? `<= ${show(limit.atMost, unit)}` : `< ${show(limit.below, unit)}`;
}

function show(value: number, unit: Figure['unit']): string {
  if (unit === 'x') return `${value.toFixed(2)}x`;
  return `${round(value)} ${unit}`;
}
