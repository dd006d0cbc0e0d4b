import { resolve } from 'node:path';
import { Child, type Line } from '../support/child.ts';
import { root } from '../support/foreign.ts';

/** How a driver is built and started: an entry of drivers.json. */
export interface DriverCommand {
  /** Seen from the repository's root. */
  readonly cwd: string;
  readonly build?: readonly string[];
  readonly run: readonly string[];
}

/** An answer to a request that failed. */
export class DriverError extends Error {
  readonly kind: string;
  readonly code: string;
  readonly reason: string;
  readonly attempts: number;
  readonly tokenIds: readonly string[];

  constructor(op: string, { kind, code, reason, message, attempts, tokenIds }: Record<string, unknown>) {
    super(`${op}: ${[kind, code, reason, message].filter((part) => part !== undefined && part !== '').join(' ')}`);
    this.kind = String(kind ?? '');
    this.code = String(code ?? '');
    this.reason = String(reason ?? '');
    this.attempts = Number(attempts ?? 0);
    this.tokenIds = (tokenIds ?? []) as string[];
  }
}

/** What a driver answers. */
export interface Ok {
  readonly generation: string;
  readonly tokenId: string;
  readonly previousId?: string;
  readonly attempts: number;
  readonly tokenIds: readonly string[];
  readonly outcome: string;
  readonly state: string;
  readonly reconnects: number;
  readonly goaways: number;
  readonly reports: number;
  readonly apps: Readonly<Record<string, { state: string; generation?: string; tokenId?: string; reason?: string }>>;
  readonly events: readonly Readonly<Record<string, unknown>>[];
  readonly nsPerRead: number;
  readonly threads: number;
  readonly files: number;
  readonly parent: { generation: string; tokenId: string };
  readonly child: { generation: string; tokenId: string };
  readonly name: string;
  readonly version: string;
  readonly transport: 'grpc' | 'connect';
  readonly capabilities: readonly string[];
}

/** The longest that a request may take beyond what it asks for itself, in milliseconds. */
const patienceMs = 30_000;

/** A driver that runs. */
export class Driver implements AsyncDisposable {
  readonly child: Child;
  readonly #open = new Map<number, { resolve: (ok: Ok) => void; reject: (error: Error) => void; op: string }>();
  #id = 0;

  constructor(name: string, { cwd, run: [file = '', ...args] }: DriverCommand, env: Record<string, string> = {}) {
    const folder = resolve(root, cwd);
    const command: [string, ...string[]] = [file.includes('/') ? resolve(folder, file) : file, ...args];
    this.child = new Child({ name: `the ${name} driver`, command, cwd: folder, env, listens: true });
    this.child.hear = (line) => this.#take(line);
  }

  /** One request. Rejects with a DriverError where the answer is an error. */
  ask(op: string, fields: Readonly<Record<string, unknown>> = {}): Promise<Ok> {
    const id = ++this.#id;
    const { promise, resolve, reject } = Promise.withResolvers<Ok>();
    this.#open.set(id, { resolve, reject, op });
    this.child.say(JSON.stringify({ id, op, ...fields }));
    const late = setTimeout(
      () => this.#settle(id)?.reject(new Error(`${op} was not answered; ${this.child.tail()}`)),
      patienceMs + Number(fields['timeoutMs'] ?? 0),
    );
    const ended = setInterval(() => {
      if (this.child.exitCode !== undefined)
        this.#settle(id)?.reject(new Error(`${this.child.name} ended during ${op}; ${this.child.tail()}`));
    }, 500);
    const answered = promise.finally(() => {
      clearTimeout(late);
      clearInterval(ended);
    });
    answered.catch(() => {}); // a scenario that failed meanwhile does not wait for it
    return answered;
  }

  /** Ends its input, and waits for its exit code. */
  async end(): Promise<number> {
    this.child.hush();
    return this.child.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child[Symbol.asyncDispose]();
  }

  #take({ id, ok, error }: Line & { id?: unknown; ok?: unknown; error?: unknown }): void {
    const open = this.#settle(Number(id));
    if (error !== undefined) open?.reject(new DriverError(open.op, error as Record<string, unknown>));
    else open?.resolve(ok as Ok);
  }

  #settle(id: number) {
    const open = this.#open.get(id);
    this.#open.delete(id);
    return open;
  }
}
