import { createHash } from 'node:crypto';
import { clockTime, type Dated, lineOf } from './history.ts';

/** Lines that are kept for a failure's report. */
const KEPT = 150;

/** What happened, in lines: all of it goes into a hash, the last lines are kept, and one may listen. */
export class Trace {
  readonly #hash = createHash('sha256');
  readonly #listen: ((line: string) => void) | undefined;
  #lines: string[] = [];
  count = 0;

  constructor(listen?: (line: string) => void) {
    this.#listen = listen;
  }

  /** Something that the validator knows as well. */
  happened(event: Dated): void {
    this.#add(lineOf(event));
  }

  /** Something that is of interest to people. */
  remark(at: number, text: string): void {
    this.#add(`${clockTime(at)}  ${text}`);
  }

  /** The last lines, oldest first. */
  get last(): readonly string[] {
    return this.#lines.slice(-KEPT);
  }

  /** A digest of all lines so far and of `more`: the trace cannot be added to afterwards. */
  digest(more: string): string {
    return this.#hash.update(more).digest('hex').slice(0, 16);
  }

  #add(line: string): void {
    this.count++;
    this.#hash.update(line);
    this.#listen?.(line);
    if (this.#lines.push(line) > 4 * KEPT) this.#lines = this.#lines.slice(-KEPT);
  }
}
