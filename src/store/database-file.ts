import { stat } from 'node:fs/promises';

/** What may become of the files of an open database without an operation on it failing. */
export type FileTrouble = 'deleted' | 'replaced' | 'open to group or others';

/**
 * Looks at the files of a database that is open: the system lets anybody with the folder remove or replace them, and what is
 * written goes on into a file without a name, which is gone when the process ends.
 */
export class DatabaseFile {
  readonly #path: string;
  /** By its path, the file that was seen first. It stays open, so that no other is given its number. */
  readonly #seen = new Map<string, string>();

  /** `path` is absolute, and its database is open. */
  constructor(path: string) {
    this.#path = path;
  }

  /** What is wrong with them; undefined: nothing. The first look takes the files that are there for the right ones. */
  async trouble(): Promise<FileTrouble | undefined> {
    // What is not in the database yet stands in the log.
    for (const path of [this.#path, `${this.#path}-wal`]) {
      const found = await stat(path, { bigint: true }).catch(() => undefined);
      const id = found && `${found.dev} ${found.ino}`;
      const seen = this.#seen.get(path);
      if (seen === undefined) {
        if (id) this.#seen.set(path, id);
      } else if (id === undefined) return 'deleted';
      else if (id !== seen) return 'replaced';
      if (found && (found.mode & 0o077n) !== 0n) return 'open to group or others';
    }
    return undefined;
  }
}
