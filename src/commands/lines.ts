import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** One line of a file. */
export interface FileLine {
  /** 1 is the first. */
  readonly number: number;
  /** Without its end; undefined: it is longer than any message may be, and was not kept. */
  readonly text: string | undefined;
}

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
const NEWLINE = 0x0a;

/** Reads a file line by line, and holds no more of it than a line. Rejects when it cannot be read. */
export async function* readLines(path: string, onChunk: (chunk: Buffer) => void = () => {}): AsyncGenerator<FileLine> {
  let number = 0;
  let parts: Buffer[] = [];
  let bytes = 0;
  const line = (): FileLine => {
    number++;
    const text = bytes > MAX_LINE_BYTES ? undefined : Buffer.concat(parts).toString('utf8');
    parts = [];
    bytes = 0;
    return { number, text: number === 1 ? text?.replace(/^\uFEFF/, '') : text };
  };
  const keep = (part: Buffer): void => {
    bytes += part.length;
    if (bytes > MAX_LINE_BYTES) parts = [];
    else parts.push(part);
  };
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
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
export function isBlank({ text }: FileLine): boolean {
  return text !== undefined && text.trim() === '';
}

/** Reads a file once, to know it again. */
export async function survey(path: string): Promise<Survey> {
  const hash = createHash('sha256');
  let lines = 0;
  let last = 0;
  for await (const line of readLines(path, (chunk) => hash.update(chunk))) {
    last = line.number;
    if (!isBlank(line)) lines++;
  }
  return { id: hash.digest('hex').slice(0, 16), lines, last };
}
