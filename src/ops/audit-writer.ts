import type { AuditLine } from '../core/access/audit-line.ts';
import type { AuditSink } from '../core/access/audit-log.ts';
import type { Clock } from '../core/kernel/clock.ts';
import { auditJson } from './audit-json.ts';
import { LineWriter, type LineWriterOptions } from './line-writer.ts';

/** What may wait to be written: lines of 10,000 streams that end at once take a quarter of it. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Writes the lines of the audit log; where some were lost, a line `audit.lost` says so. */
export class AuditWriter implements AuditSink {
  readonly #lines: LineWriter;
  readonly #clock: Clock;

  constructor(options: Omit<LineWriterOptions, 'maxBytes' | 'lostLine'>) {
    this.#clock = options.clock;
    const lostLine: LineWriterOptions['lostLine'] = (lost) =>
      auditJson({ event: 'audit.lost', ...lost }, options.clock.now());
    this.#lines = new LineWriter({ ...options, maxBytes: MAX_BYTES, lostLine });
  }

  get writable(): boolean {
    return !this.#lines.inTrouble;
  }

  write(line: AuditLine): void {
    this.#lines.write(auditJson(line, this.#clock.now()));
  }

  /** Writes what is left, for half a second at most, and counts the rest as lost. */
  close(): Promise<void> {
    return this.#lines.close();
  }
}
