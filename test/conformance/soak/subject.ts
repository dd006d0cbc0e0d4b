import { readFileSync } from 'node:fs';
import { type Holding, sharedNow } from '../../faults/subscribers.ts';
import { Driver, type DriverCommand, DriverError } from '../driver.ts';

/** What a process has of the machine. */
export interface Size {
  readonly threads: number;
  readonly files: number;
  readonly mebibytes: number;
}

/** `error` of kind Late where the driver did not answer in time, Ended where it is gone. */
interface Answer {
  readonly ok?: Record<string, unknown>;
  readonly error?: { readonly kind: string; readonly message: string };
}

/** How often its token is read. */
const READ_MS = 200;

/** A library's driver with one client, and what its user held. */
export class Subject implements AsyncDisposable {
  readonly name: string;
  readonly holdings: Holding[] = [];
  readonly #number: number;
  readonly #driver: Driver;
  #reading: NodeJS.Timeout | undefined;

  constructor(name: string, command: DriverCommand, number: number) {
    this.name = name;
    this.#number = number;
    this.#driver = new Driver(name, command);
  }

  /** Why it does not run any longer; empty while it does. */
  get ended(): string {
    const { exitCode } = this.#driver.child;
    return exitCode === undefined ? '' : `it ended by itself (${exitCode})`;
  }

  async ask(op: string, fields: object = {}): Promise<Answer> {
    try {
      return { ok: { ...(await this.#driver.ask(op, { client: 'soak', ...fields })) } };
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof DriverError) return { error: { kind: error.kind, message } };
      return { error: { kind: this.ended ? 'Ended' : 'Late', message } };
    }
  }

  /** Reads the app's token again and again, and notes each change. */
  follow(app: string): void {
    let [before, generation] = ['none yet', 0];
    const read = async () => {
      const { ok, error } = await this.ask('token', { app });
      // A driver that is slow to answer says nothing of what its user would have read.
      if (error?.kind !== 'Late') {
        const tokenId = String(ok?.['tokenId'] ?? '');
        if (ok !== undefined) generation = Number(ok['generation']);
        if (tokenId !== before) {
          this.holdings.push({ subscriber: this.#number, time: sharedNow(), tokenId, generation });
        }
        before = tokenId;
      }
      if (!this.ended) this.#reading = setTimeout(read, READ_MS);
    };
    void read();
  }

  /** Threads and files as the driver counts them, memory as the system does. */
  async size(): Promise<Size> {
    const { ok } = await this.ask('leaks');
    const status = this.ended ? '' : readFileSync(`/proc/${this.#driver.child.pid}/status`, 'utf8');
    const kibibytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0);
    return {
      threads: Number(ok?.['threads'] ?? 0),
      files: Number(ok?.['files'] ?? 0),
      mebibytes: Math.round(kibibytes / 1_024),
    };
  }

  /** Stops reading: what comes after is no part of the soak. */
  rest(): void {
    clearTimeout(this.#reading);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.rest();
    await this.#driver[Symbol.asyncDispose]();
  }
}
