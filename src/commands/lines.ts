import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { FileError, openRegular, SAVE_AS_UTF8 } from '../config/files.ts';

/** One line of a file. */
export type FileLine = {
  /** 1 is the first. */
  readonly number: number;
} & (
  | {
      /** Without its end. */
      readonly text: string;
    }
  | {
      /** Why it was not kept: it is longer than any message may be, or is not text. */
      readonly problem: 'is longer than 1 MiB' | 'is not UTF-8';
    }
);

/** What a file is, as far as a resume needs to know. */
export interface Survey {
  /** 16 hex digits that change when the content does. */
  readonly id: string;
  /** Lines that are not blank. */
  readonly lines: number;
  /** The number of the last line. */
  readonly last: number;
}

/** A message has at most so many bytes. */
const MAX_LINE_BYTES = 1024 * 1024;
/** Of each line something is held while a file is sent: some 50 MB of so many. */
const MAX_LINES = 10_000_000;
const NEWLINE = 0x0a;

/**
 * Reads a regular file line by line, as far as it goes when it is opened, and holds no more of it than a line. Rejects with a
 * FileError or the system's error when it cannot be read.
 */
export async function* readLines(path: string, onChunk: (chunk: Buffer) => void = () => {}): AsyncGenerator<FileLine> {
  let number = 0;
  let parts: Buffer[] = [];
  let bytes = 0;
  const line = (): FileLine => {
    number++;
    const problem = bytes > MAX_LINE_BYTES ? 'is longer than 1 MiB' : undefined;
    const whole = Buffer.concat(parts);
    parts = [];
    bytes = 0;
    if (problem ?? !isUtf8(whole)) return { number, problem: problem ?? 'is not UTF-8' };
    const text = whole.toString('utf8');
    return { number, text: number === 1 ? text.replace(/^\uFEFF/, '') : text };
  };
  const keep = (part: Buffer): void => {
    bytes += part.length;
    if (bytes > MAX_LINE_BYTES) parts = [];
    else parts.push(part);
  };
  await using file = await openRegular(path);
  const { size } = await file.stat();
  if (size === 0) return;
  for await (const chunk of file.createReadStream({ end: size - 1, autoClose: false }) as AsyncIterable<Buffer>) {
    onChunk(chunk);
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      yield line();
      start = end + 1;
    }
    keep(chunk.subarray(start));
  }
  if (bytes > 0) yield line();
}

/** Whether a line has nothing on it. */
export function isBlank(line: FileLine): boolean {
  return 'text' in line && line.text.trim() === '';
}

/**
 * Reads a file once, to know it again. Rejects as readLines does, and where a line of it is not text, or there are more than
 * ten million: nothing is done about a file half of which could be.
 */
export async function survey(path: string): Promise<Survey> {
  const hash = createHash('sha256');
  let lines = 0;
  let last = 0;
  for await (const line of readLines(path, (chunk) => hash.update(chunk))) {
    last = line.number;
    if (last > MAX_LINES) throw new FileError('has more than 10000000 lines; split it');
    if ('problem' in line && line.problem === 'is not UTF-8')
      throw new FileError(`is not UTF-8 (line ${last}); ${SAVE_AS_UTF8}`, last);
    if (!isBlank(line)) lines++;
  }
  return { id: hash.digest('hex').slice(0, 16), lines, last };
}
