import type { AuditLine } from '../core/access/audit-line.ts';
import type { AuditSink } from '../core/access/audit-log.ts';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import { auditJson } from './audit-json.ts';
import type { AuditOutput } from './audit-output.ts';

/** What a writer is made of. */
export interface AuditWriterOptions {
  readonly output: AuditOutput;
  readonly clock: Clock;
  /** Told of lines that were lost, since there is no room for more to wait. */
  readonly onLost: (lines: number) => void;
  /** Told once that lines wait which cannot be written; `error` undefined: nobody reads them. */
  readonly onTrouble: (error: unknown) => void;
  /** Told that all which waited has been written; `lost`: but for so many lines. */
  readonly onRecovered: (lost: number) => void;
}

/** What may wait to be written: lines of 10,000 streams that end at once take a quarter of it. */
const MAX_BYTES = 8 * 1024 * 1024;
/** What failed is tried again so often, and what has no room for more. */
const RETRY_MS = 1_000;
const FULL_MS = 20;
/** After so long without room nobody reads. */
const STUCK_MS = 5_000;
/** How long `close` waits for what is left. */
const CLOSE_MS = 500;

/**
 * Writes the lines of the audit log, one after the other, without making anybody wait. What cannot be written waits, and is
 * tried again until it can be; beyond 8 MiB lines are lost and counted, and a line `audit.lost` says so when there is room.
 */
export class AuditWriter implements AuditSink {
  readonly #options: AuditWriterOptions;
  #waiting: Buffer[] = [];
  /** Of all that waits and all that is being written. */
  #bytes = 0;
  /** What is being written: whole lines, of which the bytes before `from` have been. */
  #batch: { readonly lines: Buffer; from: number } | undefined;
  #isWriting = false;
  #retry: Timer | undefined;
  #fullSince: number | undefined;
  #inTrouble = false;
  #lost: { count: number; readonly first: number; last: number } | undefined;
  #onEmpty: (() => void) | undefined;

  constructor(options: AuditWriterOptions) {
    this.#options = options;
  }

  get writable(): boolean {
    return !this.#inTrouble;
  }

  write(line: AuditLine): void {
    const now = this.#options.clock.now();
    const bytes = Buffer.from(auditJson(line, now));
    if (this.#bytes + bytes.length > MAX_BYTES) {
      this.#lose(1, now);
      this.#trouble(undefined);
      return;
    }
    this.#add(bytes);
    if (!this.#retry) void this.#write();
  }

  /** Tries once more to write what is left, for half a second at most, and counts the rest as lost. */
  async close(): Promise<void> {
    const { clock, output } = this.#options;
    if (this.#bytes > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = clock.schedule(CLOSE_MS, resolve);
      void this.#write();
      await promise;
      timer.cancel();
    }
    this.#retry?.cancel();
    const left = [this.#batch?.lines.subarray(this.#batch.from) ?? Buffer.alloc(0), ...this.#waiting];
    const lines = left.reduce((sum, bytes) => sum + bytes.toString('latin1').split('\n').length - 1, 0);
    if (lines > 0) this.#lose(lines, clock.now());
    await output.close();
  }

  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#isWriting = true;
    try {
      for (this.#batch ??= this.#next(); this.#batch; this.#batch ??= this.#next()) {
        const { lines, from } = this.#batch;
        const at = await this.#options.output.write(lines, from);
        if (at === from) {
          this.#full();
          break;
        }
        this.#fullSince = undefined;
        this.#batch.from = at;
        if (at < lines.length) continue;
        this.#batch = undefined;
        this.#bytes -= lines.length;
        if (this.#bytes === 0) this.#empty();
      }
    } catch (error) {
      this.#trouble(error);
      this.#again(RETRY_MS);
    } finally {
      this.#isWriting = false;
    }
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
    this.#retry = this.#options.clock.schedule(ms, () => void this.#write());
  }

  #empty(): void {
    const lost = this.#lost;
    if (this.#inTrouble) {
      this.#inTrouble = false;
      this.#lost = undefined;
      this.#options.onRecovered(lost?.count ?? 0);
      if (lost) this.#add(Buffer.from(auditJson({ event: 'audit.lost', ...lost }, this.#options.clock.now())));
    }
    if (this.#bytes === 0) this.#onEmpty?.();
  }

  #trouble(error: unknown): void {
    if (this.#inTrouble) return;
    this.#inTrouble = true;
    this.#options.onTrouble(error);
  }

  #lose(count: number, now: number): void {
    this.#lost ??= { count: 0, first: now, last: now };
    this.#lost.count += count;
    this.#lost.last = now;
    this.#options.onLost(count);
  }
}
