import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** How much of a process is read at once, in bytes. */
const BLOCK = 16 * 1024 * 1024;

/**
 * Which of these texts stand in the memory that a process of this machine may write, as one byte a character or as UTF-16.
 * A text has at most 4,096 characters. Needs Linux, and the right to trace the process, which a parent has.
 */
export async function inMemory(pid: number, texts: readonly string[]): Promise<string[]> {
  const found = new Search(texts);
  await using memory = await open(`/proc/${pid}/mem`, 'r');
  for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
    const [, from = '0', to = '0'] = /^([\da-f]+)-([\da-f]+) rw/.exec(line) ?? [];
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    for (let at = start; at < end; at += BLOCK) {
      // Some of what is mapped cannot be read, and what was mapped a moment ago may be gone.
      const length = Math.min(BLOCK + Search.overlap, end - at);
      const read = await memory.read(Buffer.allocUnsafe(length), 0, length, at).catch(() => undefined);
      if (read) found.in(read.buffer.subarray(0, read.bytesRead));
    }
  }
  return found.texts;
}

/** Which of these texts stand in the files below a folder, or in their names. */
export async function inFiles(folder: string, texts: readonly string[]): Promise<string[]> {
  const found = new Search(texts);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    found.in(Buffer.from(entry.name));
    if (entry.isFile()) found.in(await readFile(join(entry.parentPath, entry.name)));
  }
  return found.texts;
}

class Search {
  /** Bytes of a text that may lie in the next block. */
  static readonly overlap = 8_192;
  readonly #found = new Set<string>();
  readonly #texts: readonly string[];

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  in(bytes: Buffer): void {
    for (const text of this.#texts) {
      if (this.#found.has(text)) continue;
      if (bytes.includes(text, 0, 'latin1') || bytes.includes(text, 0, 'utf16le')) this.#found.add(text);
    }
  }

  get texts(): string[] {
    return [...this.#found];
  }
}
