import { closeSync, constants, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Failure } from './exit.ts';
import { isBlank, readLines, type Survey } from './lines.ts';
import { jsonLine } from './output.ts';

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

/** When a run began. Each begins its results with one of these. */
interface Start {
  readonly run: string;
  readonly file: string;
}

/** After this long a resume could send twice: the broker remembers keys for 24 hours from a message's first attempt. */
const RESUMABLE_MS = 23 * 3_600_000;

/** Where these are the answer, nothing is known of what an earlier run did with the line. */
const SILENT_REASONS = new Set(['LEDGER_UNAVAILABLE', 'DRAINING', 'APP_NOT_FOUND', 'INTERNAL', '']);

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

const { O_RDWR, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = constants;

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
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new Failure(`the results file ${path} cannot be read: ${error.message}`);
  });
  if (found && !found.isFile()) throw new Failure(`the results file ${path} is no regular file: move it away`);
  if (!found) return { done, ...counts, failures };
  /** When each run began. */
  const runs: number[] = [];
  /** For each line, the number of runs that cannot have sent it: after the last of them the broker said that it was not sent. */
  const unsent = new Uint32Array(file.last + 1);
  for await (const line of readLines(path)) {
    if (isBlank(line)) continue;
    const row = 'text' in line ? parse(line.text) : undefined;
    // What a killed run wrote last may be torn; its line is asked for again, with its key.
    if (!row) continue;
    if (row.file !== file.id) {
      throw new Failure(
        `${path} has the results of another content: the messages file has changed since. Undo the change; or write what is still to be sent to a new file and send that.`,
        2,
      );
    }
    if ('run' in row) {
      runs.push(Date.parse(row.run));
      continue;
    }
    if (row.outcome === 'retry' && !SILENT_REASONS.has(row.reason ?? '')) unsent[row.line] = runs.length;
    if (!isFinal(row) || done[row.line]) continue;
    done[row.line] = 1;
    if (row.outcome !== 'retry') counts[row.outcome]++;
    if (row.outcome !== 'sent') addFailure(failures, row);
  }
  const isOld = (run: number) => now - (runs[run] ?? now) > RESUMABLE_MS;
  const open = file.lines - done.reduce((sum, one) => sum + one, 0);
  const known = [...unsent].filter((run, line) => run > 0 && !done[line]).length;
  // Blank lines have no result either, but are no lines of which there is something left.
  const doubtful = done.findIndex(
    (isDone, line) => line > 0 && !isDone && (unsent[line] ? isOld(unsent[line]) : open > known && isOld(0)),
  );
  if (doubtful > 0) {
    throw new Failure(
      `a run that may have sent line ${doubtful} began more than 23 hours ago, and the broker remembers for 24 hours what was sent. See in ${path} which lines have no result; write what is still to be sent to a new file and send that.`,
      2,
    );
  }
  return { done, ...counts, failures };
}

function parse(text: string): Result | Start | undefined {
  try {
    const row = JSON.parse(text);
    const isRow = Number.isSafeInteger(row?.line) || Number.isFinite(Date.parse(row?.run));
    return isRow && typeof row.file === 'string' ? row : undefined;
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
      this.#fd = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY, 0o600);
      // A last line that is torn must not swallow the next one.
      const last = Buffer.alloc(1, '\n');
      const stat = fstatSync(this.#fd);
      if (!stat.isFile()) throw new Error('it is no regular file');
      const { size } = stat;
      if (size > 0) readSync(this.#fd, last, 0, 1, size - 1);
      if (last.toString() !== '\n') writeSync(this.#fd, '\n');
    } catch (error) {
      throw new Failure(`the results file ${path} cannot be written: ${(error as Error).message}`);
    }
  }

  /** Says that a run over the file with this id begins at `now`. */
  start(file: string, now: number): void {
    this.#write({ run: new Date(now).toISOString(), file });
  }

  add(result: Result): void {
    this.#write(result);
  }

  #write(result: Result | Start): void {
    writeSync(this.#fd, jsonLine(result));
  }

  [Symbol.dispose](): void {
    fsyncSync(this.#fd);
    closeSync(this.#fd);
  }
}
