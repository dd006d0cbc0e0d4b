/** Reads records that are asked for, one time after another: those asked for meanwhile are read together, next. */
export class ReadBatcher {
  readonly #read: (appIds: readonly string[]) => Promise<void>;
  readonly #asked = new Set<string>();
  #current: Promise<boolean> = Promise.resolve(true);
  #next: Promise<boolean> | undefined;
  #isClosed = false;

  /** `read` rejects where the store does not answer. */
  constructor(read: (appIds: readonly string[]) => Promise<void>) {
    this.#read = read;
  }

  /** Resolves when the record has been read, by a command that was not on its way yet; false: the store did not answer. */
  ask(appId: string): Promise<boolean> {
    this.#asked.add(appId);
    this.#next ??= this.#afterwards();
    return this.#next;
  }

  /** Nothing more is read; resolves when what is under way is over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await (this.#next ?? this.#current);
  }

  async #afterwards(): Promise<boolean> {
    await this.#current;
    const appIds = [...this.#asked];
    this.#asked.clear();
    this.#next = undefined;
    this.#current = this.#try(appIds);
    return this.#current;
  }

  async #try(appIds: readonly string[]): Promise<boolean> {
    if (this.#isClosed) return false;
    try {
      await this.#read(appIds);
      return true;
    } catch {
      return false; // the next poll brings what was missed
    }
  }
}
