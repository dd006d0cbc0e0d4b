/**
 * Things that are found by names, of which some end in `*` and then stand for every name that begins so. A look costs as many
 * map look-ups as there are lengths of such beginnings, and one more.
 */
export class Names<T> {
  readonly #exact = new Map<string, T[]>();
  readonly #beginnings = new Map<string, T[]>();
  /** Of the beginnings. */
  readonly #lengths = new Set<number>();

  add(name: string, thing: T): void {
    const isBeginning = name.endsWith('*');
    const key = isBeginning ? name.slice(0, -1) : name;
    const things = isBeginning ? this.#beginnings : this.#exact;
    const there = things.get(key);
    if (there) there.push(thing);
    else things.set(key, [thing]);
    if (isBeginning) this.#lengths.add(key.length);
  }

  has(name: string): boolean {
    if (this.#exact.has(name)) return true;
    for (const length of this.#lengths)
      if (length <= name.length && this.#beginnings.has(name.slice(0, length))) return true;
    return false;
  }

  /** All that stands for a name, a thing once for each of its names that do. */
  find(name: string): T[] {
    const found = [...(this.#exact.get(name) ?? [])];
    for (const length of this.#lengths)
      if (length <= name.length) found.push(...(this.#beginnings.get(name.slice(0, length)) ?? []));
    return found;
  }
}
