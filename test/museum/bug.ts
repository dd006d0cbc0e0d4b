/** One change to a file: `find` must stand in it exactly once. */
export interface Edit {
  /** From the root of the repository. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** A real mistake, kept so that it can be put back. Its name is that of its file in `bugs/`. */
export interface Bug {
  /** The mistake as it is met in the world, and whom it hurts. The first sentence stands alone in `--list`. */
  readonly story: string;
  /** What puts it back: code that compiles, and that somebody might have written. */
  readonly edits: readonly Edit[];
  /** The test that must fail: its file, and its own name, without its group's, or a telling part of it. */
  readonly caughtBy: { readonly file: string; readonly test: string };
}

/** A file's text with the change made. Throws an Error that says what to mend when the anchor is not there exactly once. */
export function edited(text: string, { file, find, replace }: Edit): string {
  const [before, after, ...more] = text.split(find);
  if (before !== undefined && after !== undefined && more.length === 0) return before + replace + after;
  const times = after === undefined ? 'not at all' : `${more.length + 1} times`;
  throw new Error(`the anchor stands ${times} in ${file}: choose one that stands there once. It is: ${find}`);
}
