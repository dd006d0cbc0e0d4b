/** So many callers are remembered: whoever has a certificate of an authority is one more. */
const MAX_REMEMBERED = 10_000;

/** Finds the entry of `who` by which metrics know a caller. */
export class CallerLabels {
  /** What stands for callers that no entry names. */
  static readonly OTHER = 'other';
  #names = new Set<string>();
  /** What stands before a `*`, the longest first. */
  #prefixes: readonly string[] = [];
  readonly #remembered = new Map<string, string>();

  /** Takes the entries that are configured now. */
  configure(who: readonly string[]): void {
    this.#names = new Set(who.filter((entry) => !entry.endsWith('*')));
    this.#prefixes = who
      .filter((entry) => entry.endsWith('*'))
      .map((entry) => entry.slice(0, -1))
      .sort((a, b) => b.length - a.length);
    this.#remembered.clear();
  }

  /** The entry that names the caller, or else the longest that has it by a `*`, or else OTHER. */
  of(caller: string): string {
    const known = this.#remembered.get(caller);
    if (known !== undefined) return known;
    const prefix = this.#prefixes.find((each) => caller.startsWith(each));
    const other = prefix === undefined ? CallerLabels.OTHER : `${prefix}*`;
    const label = this.#names.has(caller) ? caller : other;
    if (this.#remembered.size >= MAX_REMEMBERED) this.#remembered.clear();
    this.#remembered.set(caller, label);
    return label;
  }
}
