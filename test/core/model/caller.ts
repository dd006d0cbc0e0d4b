import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import type { ForceOutcome, TokenState } from '../../../src/core/tokens/state.ts';
import { type Findings, leaks } from './findings.ts';

/** What a call came to. */
export type Result = { readonly state: TokenState; readonly outcome: ForceOutcome | undefined };

/** An abort signal that knows how many listen to it. */
export class CountedSignal {
  readonly #controller = new AbortController();
  #listeners = 0;

  constructor() {
    const { signal } = this.#controller;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      this.#listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      this.#listeners--;
      remove(...args);
    };
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Once aborted, a signal holds nobody: all listen once. */
  get listeners(): number {
    return this.signal.aborted ? 0 : this.#listeners;
  }

  abort(reason: Error): void {
    this.#controller.abort(reason);
  }
}

const GONE = new Error('the caller gave up');

/** One call of the broker, from its beginning to its end. */
export class Caller {
  readonly name: string;
  readonly at: number;
  /** It may wait for a generation that does not come. */
  readonly patient: boolean;
  readonly #signal = new CountedSignal();
  readonly #findings: Findings;
  settled = false;
  /** Undefined before it settles and when it failed. */
  result: Result | undefined;
  /** Undefined before it settles and when it succeeded. */
  error: unknown;

  /** `call` is made at once; `onResult` hears of success at the moment at which the caller does. */
  constructor(options: {
    name: string;
    at: number;
    patient: boolean;
    findings: Findings;
    call: (signal: AbortSignal) => Result | Promise<Result>;
    onResult: (result: Result) => void;
    onSettled: () => void;
  }) {
    this.name = options.name;
    this.at = options.at;
    this.patient = options.patient;
    this.#findings = options.findings;
    const succeed = (result: Result) => {
      this.settled = true;
      this.result = result;
      options.onResult(result);
      options.onSettled();
    };
    const fail = (error: unknown) => {
      this.settled = true;
      this.error = error;
      this.#expected(error);
      options.onSettled();
    };
    try {
      const answer = options.call(this.#signal.signal);
      if (answer instanceof Promise) answer.then(succeed, fail).catch((error) => this.#unexpected(error));
      else succeed(answer);
    } catch (error) {
      fail(error);
    }
  }

  giveUp(): void {
    this.#signal.abort(GONE);
  }

  /** To be called when all has settled that can. `process` dead: nobody cleans up after it. */
  check(): void {
    const { listeners } = this.#signal;
    this.#findings.law('no listener is left on a signal', !this.settled || listeners === 0, () => this.name);
    const left = this.settled || !this.#signal.signal.aborted;
    this.#findings.law('a caller that gives up is let go', left, () => this.name);
  }

  #expected(error: unknown): void {
    if (error === GONE) return;
    if (!(error instanceof LingpaiError)) {
      this.#unexpected(error);
      return;
    }
    this.#findings.law('no error holds a secret or a token', !leaks(`${error.stack} ${JSON.stringify(error)}`), () => {
      return this.name;
    });
    this.#findings.law('no error of the broker is its own fault', error.reason !== 'INTERNAL', () => {
      return `${this.name}: ${error.message}`;
    });
  }

  #unexpected(error: unknown): void {
    this.#findings.broken('a call fails with LingpaiError', `${this.name}: ${String(error)}`);
  }
}
