import { constants } from 'node:fs';
import { type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatKeys, KeyFileError, parseKeys, type StoredKey } from './key-file.ts';

/** How long one command may keep the file to itself before another is told; nothing takes a tenth of it. */
export const LOCK_WAIT_MS = 2_000;
const LOCK_RETRY_MS = 20;

/** What changing the key file needs of others. */
export interface KeyFileDeps {
  /** The text of a file. */
  readonly read: (path: string) => Promise<string>;
  readonly wait: (ms: number) => Promise<void>;
}

/**
 * Changes the key file, which need not be there. What is read, changed and written is one step for all who use this: the new
 * text is written to `FILE.lock`, which only one can create, made durable, and renamed over the file. A link stays one, and what it leads to is replaced.
 * A new file is its owner's alone (0600); one that was there keeps its mode, since the broker may be of its group.
 * Rejects with a KeyFileError, or the system's error; then the file is as it was.
 */
export async function changeKeys(
  path: string,
  change: (keys: StoredKey[]) => StoredKey[],
  { read, wait }: KeyFileDeps,
): Promise<void> {
  const target = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return path;
    throw error;
  });
  const lock = `${target}.lock`;
  const file = await createAlone(lock, wait);
  try {
    const before = await stat(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    const keys = before ? parseKeys(await read(target)) : [];
    await file.writeFile(formatKeys(change(keys)));
    if (before) {
      await file.chmod(before.mode & 0o777);
      const mine = await file.stat();
      if (before.uid !== mine.uid || before.gid !== mine.gid) await keepOwner(file, before);
    }
    await file.sync();
    await rename(lock, target);
  } catch (error) {
    await rm(lock, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await using folder = await open(dirname(target), constants.O_RDONLY);
  await folder.sync();
}

async function createAlone(lock: string, wait: (ms: number) => Promise<void>): Promise<FileHandle> {
  for (let waited = 0; ; waited += LOCK_RETRY_MS) {
    try {
      return await open(lock, 'wx', 0o600);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (waited >= LOCK_WAIT_MS) {
        throw new KeyFileError(
          `${lock} is there: another "lingpai keys" is at work, or one was killed; when none runs, remove it and try again`,
        );
      }
      await wait(LOCK_RETRY_MS);
    }
  }
}

async function keepOwner(file: FileHandle, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  try {
    await file.chown(uid, gid);
  } catch {
    throw new KeyFileError(
      'the file belongs to another user or group, which would no longer read it once this command had written it; run it as that user',
    );
  }
}
