import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Failure } from './exit.ts';
import { isBlank, readLines, type Survey } from './lines.ts';

/** What became of one line's message, as the results file has it. */
export interface Result {
  readonly line: number;
  readonly correlation_id: string;
  /** The id of the file that the line stands in. */
  readonly file: string;
  /** `refused`: for good. `retry`: not sent, and worth another attempt. `unknown`: it may have been sent. */
  readonly outcome: 'sent' | 'refused' | 'retry' | 'unknown';
  readonly message_id?: string;
  /** Sent by an earlier call. */
  readonly replayed?: boolean;
  /** The gRPC status code's name, such as INVALID_ARGUMENT. */
  readonly code?: string;
  readonly reason?: string;
  /** What is wrong and what to do, in words. */
  readonly message?: string;
  readonly errcode?: string;
  readonly rid?: string;
  /** After how many seconds another attempt can help. */
  readonly retry_after_s?: number;
}

/** After this long a resume could send twice: the broker remembers keys for 24 hours. */
const RESUMABLE_MS = 23 * 3_600_000;

/** Whether nothing is left to be done about a line. */
export function isFinal({ outcome, retry_after_s }: Result): boolean {
  // That it may have been sent is final where the broker cannot find out.
  return outcome === 'unknown' ? retry_after_s === undefined : outcome !== 'retry';
}

/** The results of the runs before this one. */
export interface Earlier {
  /** 1 at the number of each line that has a final result. */
  readonly done: Uint8Array;
  readonly sent: number;
  readonly refused: number;
  readonly unknown: number;
  /** Lines that failed for good, by reason. */
  readonly failures: ReadonlyMap<string, Failed>;
}

/** Lines that failed alike. */
export interface Failed {
  count: number;
  /** The numbers of the first few. */
  readonly lines: number[];
  /** What the first was told. */
  readonly message: string;
}

const SHOWN_LINES = 5;

/** Counts a failure. */
export function addFailure(
  failures: Map<string, Failed>,
  { line, reason = '', code = '', message = '' }: Result,
): void {
  const failed = failures.get(reason || code) ?? { count: 0, lines: [], message };
  failed.count++;
  if (failed.lines.length < SHOWN_LINES) failed.lines.push(line);
  failures.set(reason || code, failed);
}

/**
 * Reads the results of earlier runs of the same file; none where there is no results file. Throws a Failure where going on
 * from them could send a message twice, or they are of another file.
 */
export async function readResults(path: string, file: Survey, now: number): Promise<Earlier> {
  const done = new Uint8Array(file.last + 1);
  const failures = new Map<string, Failed>();
  const counts = { sent: 0, refused: 0, unknown: 0 };
  let finished = 0;
  const info = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new Failure(`the results file ${path} cannot be read: ${error.message}`);
  });
  if (!info) return { done, ...counts, failures };
  for await (const line of readLines(path)) {
    if (isBlank(line)) continue;
    const result = parse(line.text);
    // What a killed run wrote last may be torn; its line is asked for again, with its key.
    if (!result) continue;
    if (result.file !== file.id) {
      throw new Failure(
        `${path} has the results of another content: the messages file has changed since. Undo the change; or write what is still to be sent to a new file and send that.`,
        2,
      );
    }
    if (!isFinal(result) || done[result.line]) continue;
    done[result.line] = 1;
    finished++;
    if (result.outcome !== 'retry') counts[result.outcome]++;
    if (result.outcome !== 'sent') addFailure(failures, result);
  }
  if (finished < file.lines && now - info.mtimeMs > RESUMABLE_MS) {
    throw new Failure(
      `${path} was written more than 23 hours ago, and the broker remembers for 24 hours what was sent: lines without a result may have been sent. Write what is still to be sent to a new file and send that.`,
      2,
    );
  }
  return { done, ...counts, failures };
}

function parse(text: string | undefined): Result | undefined {
  try {
    const result = JSON.parse(text ?? '');
    return Number.isSafeInteger(result?.line) && typeof result.file === 'string' ? result : undefined;
  } catch {
    return undefined;
  }
}

/** A results file that is added to. What was added is there even when the process is killed the moment after. */
export class ResultsFile implements Disposable {
  readonly #fd: number;

  constructor(path: string) {
    try {
      // It says which messages failed and why: nobody else's business.
      this.#fd = openSync(path, 'a+', 0o600);
      // A last line that is torn must not swallow the next one.
      const last = Buffer.alloc(1, '\n');
      const { size } = fstatSync(this.#fd);
      if (size > 0) readSync(this.#fd, last, 0, 1, size - 1);
      if (last.toString() !== '\n') writeSync(this.#fd, '\n');
    } catch (error) {
      throw new Failure(`the results file ${path} cannot be written: ${(error as Error).message}`);
    }
  }

  add(result: Result): void {
    writeSync(this.#fd, `${JSON.stringify(result)}\n`);
  }

  [Symbol.dispose](): void {
    fsyncSync(this.#fd);
    closeSync(this.#fd);
  }
}
