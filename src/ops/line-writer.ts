import type { Clock, Timer } from '../core/kernel/clock.ts';

/** What lines are written to. */
export interface LineOutput {
  /** How many bytes are given to `write` at most, but for a line that is longer. */
  readonly most: number;
  /**
   * Writes whole lines, of which the bytes before `from` have been written. Gives up to where they are written now: `from`, when
   * nothing can be taken for the moment. It is a promise where that takes its time. Throws, or rejects, when it cannot be written to.
   */
  write(lines: Buffer, from: number): number | Promise<number>;
  close(): Promise<void>;
}

/** Lines that were lost, and when the first and the last of them were, in wall-clock milliseconds. */
export interface LostLines {
  readonly count: number;
  readonly first: number;
  readonly last: number;
}

/** What a writer is made of. */
export interface LineWriterOptions {
  readonly output: LineOutput;
  readonly clock: Clock;
  /** So many bytes may wait. */
  readonly maxBytes: number;
  /** The line that says so afterwards, with its end. */
  readonly lostLine: (lost: LostLines) => string;
  /** Told of lines that were lost, since there is no room for more to wait. */
  readonly onLost?: (lines: number) => void;
  /** Told once that lines wait which cannot be written; `error` undefined: nobody reads them. */
  readonly onTrouble?: (error: unknown) => void;
  /** Told that all which waited has been written; `lost`: but for so many lines. */
  readonly onRecovered?: (lost: number) => void;
}

/** What failed is tried again so often, and what has no room for more. */
const RETRY_MS = 1_000;
const FULL_MS = 20;
/** After so long without room nobody reads. */
const STUCK_MS = 5_000;
/** How long `close` waits for what is left. */
const CLOSE_MS = 500;
/** So many writes are made at a stretch. */
const STRETCH = 64;

/**
 * Writes lines, one after the other, without making anybody wait. What cannot be written waits, and is tried again until it can be;
 * beyond `maxBytes` lines are lost and counted, and a line says so when there is room.
 */
export class LineWriter {
  readonly #options: LineWriterOptions;
  #waiting: Buffer[] = [];
  /** Of all that waits and all that is being written. */
  #bytes = 0;
  /** What is being written: whole lines, of which the bytes before `from` have been. */
  #batch: { readonly lines: Buffer; from: number } | undefined;
  #isWriting = false;
  #isFailing = false;
  #retry: Timer | undefined;
  #fullSince: number | undefined;
  #inTrouble = false;
  #lost: { count: number; readonly first: number; last: number } | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: LineWriterOptions) {
    this.#options = options;
  }

  /** Lines wait that cannot be written, or were lost, and that is not over yet. */
  get inTrouble(): boolean {
    return this.#inTrouble;
  }

  /** Takes a line, with its end. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    if (this.#bytes + bytes.length > this.#options.maxBytes) {
      this.#lose(1);
      this.#trouble(undefined);
      return;
    }
    this.#add(bytes);
    if (!this.#retry) this.#write();
  }

  /**
   * Writes what waits as far as it is taken at once, for a process that ends. False: more may be taken in a moment. An output
   * that takes its time is given nothing.
   */
  flush(): boolean {
    this.#write();
    return this.#bytes === 0 || this.#isWriting || this.#isFailing;
  }

  /** Tries once more to write what is left, for half a second at most, and counts the rest as lost. */
  async close(): Promise<void> {
    const { clock, output } = this.#options;
    if (this.#bytes > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = clock.schedule(CLOSE_MS, resolve);
      this.#write();
      await promise;
      timer.cancel();
    }
    this.#retry?.cancel();
    const left = [this.#batch?.lines.subarray(this.#batch.from) ?? Buffer.alloc(0), ...this.#waiting];
    const lines = left.reduce((sum, bytes) => sum + bytes.toString('latin1').split('\n').length - 1, 0);
    if (lines > 0) this.#lose(lines);
    await output.close();
  }

  #write(): void {
    if (this.#isWriting) return;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#isWriting = true;
    let writes = 0;
    try {
      for (this.#batch ??= this.#next(); this.#batch; this.#batch ??= this.#next()) {
        if (++writes > STRETCH) {
          this.#again(0);
          break;
        }
        const at = this.#options.output.write(this.#batch.lines, this.#batch.from);
        if (typeof at !== 'number') {
          at.then(
            (to) => this.#goOn(() => this.#took(to)),
            (error) => this.#goOn(() => this.#failed(error)),
          );
          return;
        }
        if (!this.#took(at)) break;
      }
    } catch (error) {
      this.#failed(error);
    }
    this.#isWriting = false;
  }

  /** After a write that took its time. */
  #goOn(ended: () => boolean): void {
    const isMore = ended();
    this.#isWriting = false;
    if (isMore) this.#write();
  }

  /** What is being written is written up to here; false: nothing more is taken for the moment. */
  #took(at: number): boolean {
    const batch = this.#batch;
    this.#isFailing = false;
    if (!batch) return true;
    if (at === batch.from) {
      this.#full();
      return false;
    }
    this.#fullSince = undefined;
    batch.from = at;
    if (at < batch.lines.length) return true;
    this.#batch = undefined;
    this.#bytes -= batch.lines.length;
    if (this.#bytes === 0) this.#empty();
    return true;
  }

  #failed(error: unknown): false {
    this.#isFailing = true;
    this.#fullSince = undefined;
    this.#trouble(error);
    this.#again(RETRY_MS);
    return false;
  }

  #add(bytes: Buffer): void {
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
  }

  /** The next lines that go out together. */
  #next(): { readonly lines: Buffer; from: number } | undefined {
    let bytes = 0;
    let count = 0;
    for (const line of this.#waiting) {
      if (count > 0 && bytes + line.length > this.#options.output.most) break;
      bytes += line.length;
      count++;
    }
    return count === 0 ? undefined : { lines: Buffer.concat(this.#waiting.splice(0, count)), from: 0 };
  }

  #full(): void {
    const now = this.#options.clock.monotonic();
    this.#fullSince ??= now;
    if (now - this.#fullSince >= STUCK_MS) this.#trouble(undefined);
    this.#again(FULL_MS);
  }

  #again(ms: number): void {
    this.#retry = this.#options.clock.schedule(ms, () => this.#write());
  }

  #empty(): void {
    const lost = this.#lost;
    if (this.#inTrouble) {
      this.#inTrouble = false;
      this.#lost = undefined;
      this.#options.onRecovered?.(lost?.count ?? 0);
      if (lost) this.#add(Buffer.from(this.#options.lostLine(lost)));
    }
    if (this.#bytes === 0) this.#onEmpty?.();
  }

  #trouble(error: unknown): void {
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    this.#options.onTrouble?.(error);
  }

  #lose(count: number): void {
    const now = this.#options.clock.now();
    this.#lost ??= { count: 0, first: now, last: now };
    this.#lost.count += count;
    this.#lost.last = now;
    this.#options.onLost?.(count);
  }
}
