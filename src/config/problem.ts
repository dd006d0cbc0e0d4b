/** One thing that is wrong with a config file. It never quotes a value of the file: a secret may stand in the wrong place. */
export interface ConfigProblem {
  /** Where, in the file's own keys: `apps[1].secret.env`; empty for the file as a whole. */
  readonly path: string;
  /** The line of the file, counted from 1, where it is known. */
  readonly line?: number | undefined;
  /** What is wrong; then what to write. */
  readonly message: string;
}

/** A path as a list of keys and indexes. */
export type Segments = readonly (string | number)[];

/** Writes segments as people read them: `apps[1].secret.env`. */
export function formatPath(segments: Segments): string {
  return segments.map((s, i) => (typeof s === 'number' ? `[${s}]` : i === 0 ? s : `.${s}`)).join('');
}

/**
 * Whether a key that the schema does not know may be named in a problem. In `{ app_id: a, secret:b }` the forgotten
 * space makes `secret:b` a key, so only what looks like a setting's name is repeated.
 */
export function isNameable(key: string): boolean {
  return /^[A-Za-z][A-Za-z_-]{0,23}$/.test(key);
}

/** More problems than anyone reads are counted, not told. */
export const SHOWN_PROBLEMS = 100;

/** Problems in the order of their lines; after SHOWN_PROBLEMS of them one says how many more there are. */
export function shownProblems(problems: readonly ConfigProblem[], things: string): readonly ConfigProblem[] {
  const sorted = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
  const shown = sorted.slice(0, SHOWN_PROBLEMS);
  const more = sorted.length - shown.length;
  if (more > 0) shown.push({ path: '', message: `has ${more} more ${things}; mend these first` });
  return shown;
}

/** A config file that cannot be used. Its message is for people: one line a problem, `FILE:LINE PATH: MESSAGE`. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** In the order of their lines; never empty. After SHOWN_PROBLEMS of them one says how many more there are. */
  readonly problems: readonly ConfigProblem[];
  /** How many there are in all. */
  readonly total: number;

  constructor(file: string, problems: readonly ConfigProblem[]) {
    const listed = shownProblems(problems, 'problems');
    super(listed.map((problem) => formatProblem(file, problem)).join('\n'));
    this.problems = listed;
    this.total = problems.length;
  }
}

/** A problem as people read it: `FILE:LINE PATH: MESSAGE`. */
export function formatProblem(file: string, { path, line, message }: ConfigProblem): string {
  return `${file}${line === undefined ? '' : `:${line}`}${path === '' ? '' : ` ${path}`}: ${message}`;
}
