import { isUtf8 } from 'node:buffer';
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

/** The most bytes that a config file, a secret file or a list of titles may have. */
export const MAX_FILE_BYTES = 1024 * 1024;

/** A file that is there and is not read. Its message goes on after the file's name: `is larger than 1 MiB; ...`. */
export class FileError extends Error {
  override readonly name = 'FileError';
  /** The line that is wrong, counted from 1, where it is one. */
  readonly line: number | undefined;

  constructor(message: string, line?: number) {
    super(message);
    this.line = line;
  }
}

/**
 * Opens a regular file for reading; a named pipe, which would hang, a device, which has no end, and a folder are refused.
 * Rejects with a FileError or the system's error.
 */
export async function openRegular(path: string): Promise<FileHandle> {
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
  const file = await open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'ENXIO' ? new FileError(NOT_REGULAR) : error;
  });
  const found = await file.stat();
  if (found.isFile()) return file;
  await file.close();
  throw new FileError(found.isDirectory() ? 'is a folder; name a file' : NOT_REGULAR);
}

const NOT_REGULAR = 'is a pipe, a device or a socket; name a regular file';

/** The text of a regular file of at most MAX_FILE_BYTES, in UTF-8. Rejects with a FileError or the system's error. */
export async function readText(path: string): Promise<string> {
  await using file = await openRegular(path);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of file.createReadStream({ end: MAX_FILE_BYTES, autoClose: false })) {
    chunks.push(chunk);
    bytes += chunk.length;
  }
  if (bytes > MAX_FILE_BYTES) throw new FileError('is larger than 1 MiB; name the right file, or write a shorter one');
  return textOf(Buffer.concat(chunks));
}

/** Bytes as text, without a mark of their order. Throws a FileError that names the first line that is not UTF-8. */
export function textOf(bytes: Buffer): string {
  if (!isUtf8(bytes)) {
    let line = 1;
    let start = 0;
    // No character of several bytes has a line feed among them.
    for (let end = 0; ; start = end + 1, line++) {
      end = bytes.indexOf('\n', start);
      if (end === -1 || !isUtf8(bytes.subarray(start, end))) break;
    }
    throw new FileError(`is not UTF-8 (line ${line}); ${SAVE_AS_UTF8}`, line);
  }
  return bytes.toString('utf8').replace(/^\uFEFF/, '');
}

/** What to do about bytes that are not UTF-8. */
export const SAVE_AS_UTF8 = 'save it as UTF-8, or change it: iconv -f GB18030 -t UTF-8';

/**
 * Says in words why a file could not be read, and what to do: of a path that leads nowhere `advice`, where it is given. It goes
 * on after the file's name.
 */
export function whyUnreadable(error: unknown, advice?: string): string {
  if (error instanceof FileError) return error.message;
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? 'unknown error';
  const [what, todo] = IN_WORDS[code] ?? [`cannot be read (${code})`, 'name another file'];
  return `${what}; ${advice ?? todo}`;
}

const IN_WORDS: Readonly<Record<string, readonly [what: string, todo: string]>> = {
  ENOENT: ['does not exist', 'correct the path'],
  ENOTDIR: ['does not exist: a part of its path is a file and no folder', 'correct the path'],
  ELOOP: ['does not exist: its links lead in a circle', 'correct the path'],
  EACCES: ['may not be read by this user', 'change who may'],
  EPERM: ['may not be read by this user', 'change who may'],
};

/** The mode of a file that its group or others may do anything with, as chmod writes it; undefined: nobody else may. */
export async function modeForOthers(path: string): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found || (found.mode & 0o077) === 0) return undefined;
  return (found.mode & 0o777).toString(8).padStart(4, '0');
}
