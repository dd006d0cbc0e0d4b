import { constants, type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LineOutput } from './line-writer.ts';

const FILE_BYTES = 64 * 1_024;

/**
 * A file that lines are added to. It is made with mode 0600, and opened anew when another lies at its path, or none: a file that
 * was rotated is left to who rotated it. Rejects with what to do when it cannot be opened.
 */
export async function fileOutput(path: string): Promise<LineOutput> {
  let file = await opened(path).catch((error: unknown) => {
    throw new Error(`audit.to: ${adviceOf(path, error)}`, { cause: error });
  });
  return {
    most: FILE_BYTES,
    async write(lines, from) {
      let at = from;
      if (!(await lies(file, path))) {
        const next = await opened(path);
        await file.close().catch(() => {});
        file = next;
        // The line that was cut off is written whole.
        at = from === 0 ? 0 : lines.lastIndexOf('\n', from - 1) + 1;
      }
      const { bytesWritten } = await file.write(lines, at);
      return at + bytesWritten;
    },
    close: () => file.close(),
  };
}

/** A named pipe is opened only if somebody reads it, and then refused: nothing here waits. */
async function opened(path: string): Promise<FileHandle> {
  const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants;
  const file = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
  try {
    if (!(await file.stat()).isFile()) throw Object.assign(new Error('not a regular file'), { code: 'ENXIO' });
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function lies(file: FileHandle, path: string): Promise<boolean> {
  try {
    const [mine, there] = await Promise.all([file.stat(), stat(path)]);
    return mine.ino === there.ino && mine.dev === there.dev;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

function adviceOf(path: string, error: unknown): string {
  switch (codeOf(error)) {
    case 'ENOENT':
      return `the folder ${dirname(path)} does not exist: create it, or name a file elsewhere`;
    case 'ENOTDIR':
      return `${dirname(path)} is no folder: name a file elsewhere`;
    case 'EISDIR':
      return `${path} is a folder: name a file in it`;
    case 'ENXIO':
      return `${path} is no regular file: name one, or write stdout`;
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `${path} cannot be written (${codeOf(error)}): let the user that runs the broker write it, or name a file elsewhere`;
    default:
      return `${path} cannot be opened: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
