import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Question, Reply } from './children/report.ts';

/** Longer than any answer takes on a slow machine: without it, one that never comes would hold up a build for ever. */
const ANSWER_TIMEOUT_MS = 180_000;

const REPORT = new URL('children/report.ts', import.meta.url);
/** The command line. */
export const MAIN = new URL('../src/lingpai.js', import.meta.url);

/** What a process has used of the CPU so far, all its threads together. */
export interface Usage {
  readonly cpuMs: number;
}

/** What a process holds after garbage collection, in bytes. */
export interface Memory {
  /** JavaScript objects, and what they hold outside of the heap. */
  readonly held: number;
  readonly rss: number;
}

/** A process of its own that answers questions. Dispose it to end it. */
export class Child implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #questions = 0;

  constructor(process: ChildProcess) {
    this.process = process;
    process.on('message', ({ id, ...reply }: Reply) => {
      const asked = this.#waiting.get(id);
      this.#waiting.delete(id);
      if ('error' in reply) asked?.reject(new Error(reply.error));
      else asked?.resolve(reply.value);
    });
    process.once('exit', (code, signal) => {
      const error = new Error(`${process.spawnargs.join(' ')} ended early: ${code ?? signal}`);
      for (const asked of this.#waiting.values()) asked.reject(error);
    });
  }

  /** Starts one of the files in children/. */
  static start(file: string): Child {
    return new Child(
      fork(new URL(`children/${file}`, import.meta.url), { execArgv: [...flags(), ...profiling(file)] }),
    );
  }

  /** Has the child do something, and resolves with what it answers. */
  async ask<T>(name: string, argument?: unknown): Promise<T> {
    const id = this.#questions++;
    const asked = Promise.withResolvers<unknown>();
    this.#waiting.set(id, asked);
    const question: Question = { id, name, argument };
    this.process.send(question);
    const late = () => asked.reject(new Error(`${name} was not answered within ${ANSWER_TIMEOUT_MS / 1000} s`));
    const timer = setTimeout(late, ANSWER_TIMEOUT_MS);
    try {
      return (await asked.promise) as T;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const ended = once(this.process, 'exit');
    this.process.kill('SIGTERM');
    await ended;
  }
}

/** A broker that serves: the real command, in a process of its own. */
export interface Served extends AsyncDisposable {
  readonly child: Child;
  readonly grpc: string;
  readonly http: string;
  /** From the start of the process until it said that it is ready. */
  readonly readyMs: number;
}

/** Starts `lingpai serve` and waits for its `ready`. `watched`: it answers questions, at the price of a slower start. */
export async function serve(config: string, options: { readonly watched: boolean }): Promise<Served> {
  const startedAt = performance.now();
  const execArgv = options.watched ? ['--import', REPORT.href, ...flags(), ...profiling('serve')] : flags().slice(0, 1);
  const process = fork(MAIN, ['serve', '--config', config], { execArgv, stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  const child = new Child(process);
  const ready = Promise.withResolvers<Served>();
  createInterface({ input: process.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    if (!line.includes('"msg":"ready"')) return;
    const readyMs = performance.now() - startedAt;
    const { grpc, http } = JSON.parse(line) as { grpc: string; http: string };
    ready.resolve({ child, grpc, http, readyMs, [Symbol.asyncDispose]: () => child[Symbol.asyncDispose]() });
  });
  process.once('exit', (code) => ready.reject(new Error(`lingpai serve ended with code ${code} before it was ready`)));
  return await ready.promise;
}

function flags(): string[] {
  return ['--disable-warning=ExperimentalWarning', '--expose-gc'];
}

/** With BENCH_CPU_PROF=DIR each server and load generator leaves a CPU profile there. */
function profiling(name: string): string[] {
  const { BENCH_CPU_PROF: folder } = process.env;
  return folder ? ['--cpu-prof', `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${name}.${Date.now()}.cpuprofile`] : [];
}
