import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Holding, sharedNow } from '../../faults/subscribers.ts';

/** How a driver is started, as drivers.json says it. */
export interface Start {
  readonly name: string;
  /** An absolute path. */
  readonly cwd: string;
  readonly run: readonly string[];
}

/** What a process has of the machine. */
export interface Size {
  readonly threads: number;
  readonly files: number;
  readonly mebibytes: number;
}

type Answer = { readonly ok?: Record<string, unknown>; readonly error?: Record<string, unknown> };

/** How often its token is read. */
const READ_MS = 200;
const ANSWER_MS = 15_000;

/** A library's driver with one client, and what its user held. */
export class Subject implements AsyncDisposable {
  readonly name: string;
  readonly holdings: Holding[] = [];
  readonly #number: number;
  readonly #child: ChildProcess;
  readonly #open = new Map<number, (answer: Answer) => void>();
  #last = 0;
  #reading: NodeJS.Timeout | undefined;
  /** Why it does not run any longer; empty while it does. */
  ended = '';

  constructor({ name, cwd, run: [file = '', ...args] }: Start, number: number) {
    this.name = name;
    this.#number = number;
    this.#child = spawn(file, args, { cwd, stdio: ['pipe', 'pipe', 'ignore'] });
    const end = (why: string) => {
      this.ended ||= why;
      for (const answer of this.#open.values()) answer({ error: { kind: 'Ended', message: why } });
      this.#open.clear();
    };
    this.#child.once('error', (error) => end(error.message));
    this.#child.once('exit', (code, signal) => end(`it ended by itself (${signal ?? code})`));
    this.#child.stdin?.on('error', () => {});
    if (this.#child.stdout) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        const { id, ...answer } = JSON.parse(line);
        this.#open.get(id)?.(answer);
        this.#open.delete(id);
      });
    }
  }

  /** Answers with an error of kind Late where the driver does not in time. */
  ask(op: string, fields: object = {}): Promise<Answer> {
    if (this.ended) return Promise.resolve({ error: { kind: 'Ended', message: this.ended } });
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#last += 1;
    const id = this.#last;
    const timer = setTimeout(() => resolve({ error: { kind: 'Late', message: `${op} was not answered` } }), ANSWER_MS);
    this.#open.set(id, (answer) => {
      clearTimeout(timer);
      resolve(answer);
    });
    this.#child.stdin?.write(`${JSON.stringify({ id, op, client: 'soak', ...fields })}\n`);
    return promise;
  }

  /** Reads the app's token again and again, and notes each change. */
  follow(app: string): void {
    let [before, generation] = ['none yet', 0];
    const read = async () => {
      const { ok, error } = await this.ask('token', { app });
      // A driver that is slow to answer says nothing of what its user would have read.
      if (error?.['kind'] !== 'Late') {
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
    const status = this.ended ? '' : readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
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
    if (this.ended) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }
}
