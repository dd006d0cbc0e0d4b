/** So much of each body is counted by nobody: the number of connections bounds it, and small requests always pass. */
const FREE_BYTES = 4_096;

/** A request's part of what all bodies may hold. */
export interface BodyShare {
  /** The body holds so many bytes now. False: there is no room for them. */
  grow(bytes: number): boolean;
  /** The body is held no longer. May be called again. */
  release(): void;
}

/** What the bodies of all requests that are under way may hold at once. */
export class Bodies {
  readonly #most: number;
  #held = 0;

  /** `most`: in bytes, what is beyond the first 4 KiB of each body. */
  constructor(most: number) {
    this.#most = most;
  }

  /** In bytes, as far as it is counted. */
  get held(): number {
    return this.#held;
  }

  /** A share for one body. */
  share(): BodyShare {
    let counted = 0;
    return {
      grow: (bytes) => {
        const more = Math.max(0, bytes - FREE_BYTES) - counted;
        if (more <= 0) return true;
        if (this.#held + more > this.#most) return false;
        this.#held += more;
        counted += more;
        return true;
      },
      release: () => {
        this.#held -= counted;
        counted = 0;
      },
    };
  }
}
