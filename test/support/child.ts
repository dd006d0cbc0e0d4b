import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A JSON line that a child printed: an example's event, or a log line of the broker or the sandbox. */
export interface Line {
  readonly [field: string]: unknown;
  readonly event?: unknown;
  readonly app?: unknown;
  readonly generation?: unknown;
  readonly status?: unknown;
  readonly token_id?: unknown;
  readonly reconnect_after_ms?: unknown;
  readonly retry_in_ms?: unknown;
  readonly message?: unknown;
  readonly msg?: unknown;
  readonly url?: unknown;
}

/** How a child is started. */
export interface ChildOptions {
  /** What messages call it. */
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  /** On top of this process's own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A descriptor that it writes to, and that is read elsewhere. */
  readonly stdout?: number;
  /** It reads what `say` writes; without it its stdin is empty. */
  readonly listens?: true;
}

/** The longest that a child may take to print a line that is waited for, or to end. */
const patienceMs = 30_000;

/** How many of a child's last lines an error shows. */
const shownLines = 15;

/** A process that prints JSON lines on stdout. It ends with this process, or before. */
export class Child implements AsyncDisposable {
  readonly name: string;
  /** All that it printed on stdout and stderr. */
  output = '';
  /** The JSON lines of stdout, in order. */
  readonly lines: Line[] = [];
  /** Told of each of them as it comes. */
  hear: (line: Line) => void = () => {};
  readonly #process: ChildProcess;
  readonly #exit: Promise<number>;
  #read = 0;
  #exitCode: number | undefined;
  #wake = () => {};

  constructor({ name, command: [file, ...args], cwd, env = {}, stdout, listens }: ChildOptions) {
    this.name = name;
    const stdio: StdioOptions = [listens ? 'pipe' : 'ignore', stdout ?? 'pipe', 'pipe'];
    this.#process = spawn(file, args, { cwd, env: { ...process.env, ...env }, stdio });
    this.#process.stdin?.on('error', () => {}); // it ended, which who waits for its answer is told
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    if (this.#process.stdout) createInterface({ input: this.#process.stdout }).on('line', (line) => this.#take(line));
    this.#exit = new Promise((resolve, reject) => {
      this.#process.once('error', reject);
      this.#process.once('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)));
    });
    const exited = (code: number) => {
      this.#exitCode = code;
      this.#wake();
    };
    this.#exit.then(exited, () => exited(127));
    live.add(this);
  }

  /** Undefined while it runs; 127 when it could not be started. */
  get exitCode(): number | undefined {
    return this.#exitCode;
  }

  /** The next line that matches, after the one that the last call returned: lines before it are skipped. `withinMs`: how long to wait. */
  async next(what: string, matches: (line: Line) => boolean, withinMs = patienceMs): Promise<Line> {
    const timeout = AbortSignal.timeout(withinMs);
    timeout.addEventListener('abort', () => this.#wake());
    while (true) {
      for (let line = this.lines[this.#read++]; line; line = this.lines[this.#read++]) if (matches(line)) return line;
      this.#read = this.lines.length;
      if (this.#exitCode !== undefined) throw this.#problem(`ended without printing ${what}`);
      if (timeout.aborted) throw this.#problem(`did not print ${what} within ${withinMs / 1000} s`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Its process id; 0 when it could not be started. */
  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Writes a line to its stdin. */
  say(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  /** Ends its stdin. */
  hush(): void {
    this.#process.stdin?.end();
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }

  /** Its exit code, once it has ended by itself or by a signal sent before. */
  async ended(): Promise<number> {
    const late = AbortSignal.timeout(patienceMs);
    return Promise.race([
      this.#exit,
      new Promise<never>((_, reject) => {
        late.addEventListener('abort', () => {
          if (this.#exitCode === undefined) reject(this.#problem(`did not end within ${patienceMs / 1000} s`));
        });
      }),
    ]);
  }

  /** Its last lines, for an error message. */
  tail(): string {
    const last = this.output.trimEnd().split('\n').slice(-shownLines);
    return `its last lines:\n${last.map((line) => `    ${line}`).join('\n')}`;
  }

  /** Ends it at once, if it has not ended. */
  kill(): void {
    if (this.#exitCode === undefined) this.#process.kill('SIGKILL');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#exit.catch(() => {});
    live.delete(this);
  }

  #take(text: string): void {
    this.output += `${text}\n`;
    try {
      this.lines.push(JSON.parse(text));
    } catch {
      return; // a line for people
    }
    const line = this.lines.at(-1);
    if (line) this.hear(line);
    this.#wake();
  }

  #problem(what: string): Error {
    return new Error(`${this.name} ${what}; ${this.tail()}`);
  }
}

const live = new Set<Child>();

const ending = new AbortController();

/** Aborts when this process ends, for children of other kinds. */
export const end = ending.signal;

// A person's Ctrl-C, or a failure that nothing caught: no child outlives this process.
process.once('exit', () => {
  ending.abort();
  for (const child of live) child.kill();
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
