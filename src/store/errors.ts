/** A store that cannot be opened, read or written. Its message names the store, what is wrong and what to do, and no token. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

/** A record that no held key opens. It is neither used nor replaced. */
export class SealedError extends StoreError {
  /** The id of the key that it wants, or `plain` where it is not sealed and may not be so; as it stands in the store, so a stranger's. */
  readonly wanted: string;
  /** Whether that key is held: then the record was changed since, or is another app's. */
  readonly isChanged: boolean;

  constructor(message: string, { wanted, isChanged }: { wanted: string; isChanged: boolean }) {
    super(message);
    this.wanted = wanted;
    this.isChanged = isChanged;
  }
}

/** What SQLite's primary result codes and the file system's codes mean to an operator. */
const IN_WORDS: Readonly<Record<string, string>> = {
  // The SQL is fixed: what it does not find was taken away.
  SQLITE_1: 'is damaged: its tables are not those of a store. Restore it from a backup, or move it away',
  SQLITE_5: 'is in use by another process: a second broker, or a tool that has it open. Stop that one first',
  SQLITE_8: 'cannot be written. Make the file and its folder writable for the broker',
  SQLITE_10: 'cannot be read or written: the disk reports an error. Look at the disk and its mount',
  SQLITE_11: 'is damaged. Restore it from a backup, or move it away: the broker then asks WeChat for new tokens',
  SQLITE_13: 'cannot be written: the disk is full. Free some space',
  SQLITE_14: 'cannot be opened. Make the file and its folder readable and writable for the broker',
  SQLITE_26: 'is not a database. Give the path of a file that the broker made, or of none',
  ENOENT: 'cannot be made: its folder does not exist. Create the folder',
  ENOTDIR: 'cannot be made: a part of its path is a file and not a folder. Correct the path',
  EACCES: 'cannot be written: permission is denied. Make the file and its folder writable for the broker',
  EPERM: 'cannot be made private (mode 0600). Make the broker its owner',
  EROFS: 'cannot be written: the file system is read-only. Choose another path',
  ENOSPC: 'cannot be written: the disk is full. Free some space',
  EDQUOT: 'cannot be written: the disk quota is spent. Free some space',
};

/** What went wrong with this file, as a StoreError. SQLite's own words may quote what it was given, so only its code is kept. */
export function explain(error: unknown, file: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = codeOf(error);
  return new StoreError(`${file} ${IN_WORDS[code] ?? 'cannot be used as a store'} (${code}).`);
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  // The low byte is the primary code; the rest tells its variants apart.
  if ('errcode' in error && typeof error.errcode === 'number') return `SQLITE_${error.errcode & 0xff}`;
  return 'code' in error && typeof error.code === 'string' ? error.code : 'unknown error';
}
