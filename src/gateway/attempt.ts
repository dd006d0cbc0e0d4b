import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { Clock } from '../core/kernel/clock.ts';
import type { Upstream } from './forwarded.ts';
import { headerOf, headersToClient, type RawHeaders, withoutSecrets } from './heads.ts';
import { Mask } from './mask.ts';

/** An answer's status line and headers. */
export interface Head {
  readonly status: number;
  readonly statusText: string;
  readonly headers: RawHeaders;
}

/** An answer that was held back whole. */
export interface SmallAnswer {
  readonly kind: 'small';
  readonly head: Head;
  readonly body: Buffer;
  readonly trailers: Trailers;
}

/** What came of an attempt. */
export type Attempted =
  | SmallAnswer
  /** The client has the whole answer. */
  | { readonly kind: 'passed'; readonly status: number }
  /** `status` is what the client was told before the answer broke off; 0: nothing. */
  | { readonly kind: 'failed'; readonly reason: string; readonly status: number };

type Trailers = Record<string, string | string[] | undefined>;

/** What an attempt is given. */
export interface AttemptDeps {
  readonly upstream: Upstream;
  readonly clock: Clock;
  readonly response: ServerResponse;
  /** The request, and its body, made anew should nothing of it have been taken. */
  readonly request: Omit<Dispatcher.DispatchOptions, 'body'>;
  readonly open: () => Buffer | Readable | null;
  /** Hidden from the client. */
  readonly secrets: readonly string[];
  /** How much of an answer is held back: of any answer, or of one that may be a refusal. */
  readonly holds: { readonly what: 'any' | 'refusal'; readonly bytes: number };
  /** Told that WeChat has the whole request, that it answers, and when anything moved. */
  readonly onSent: () => void;
  readonly onMoved: () => void;
}

/** The request once on its way to WeChat and the answer back: held back whole where it is small, else passed on as it comes. */
export class Attempt implements Dispatcher.DispatchHandler {
  readonly result: Promise<Attempted>;
  readonly #deps: AttemptDeps;
  readonly #mask: Mask;
  readonly #startedAt: number;
  #resolve: (result: Attempted) => void = () => {};
  #isSettled = false;
  #isStarted = false;
  #again = true;
  #controller: Dispatcher.DispatchController | undefined;
  #head: Head | undefined;
  /** Undefined: the answer is passed on. */
  #held: Buffer[] | undefined = [];
  #heldBytes = 0;
  #isMasked = false;
  #waitedMs = 0;

  constructor(deps: AttemptDeps) {
    this.#deps = deps;
    this.#mask = new Mask(deps.secrets[0] ?? '');
    this.#startedAt = deps.clock.monotonic();
    this.result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#dispatch();
  }

  /** From the attempt's begin until WeChat began to answer. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /** Whether WeChat has begun to answer. */
  get isAnswered(): boolean {
    return this.#head !== undefined;
  }

  /** Whether the client is to take what it was given of the answer. */
  get isUnread(): boolean {
    return this.#controller?.paused === true || this.#deps.response.writableEnded;
  }

  /** Ends the attempt, and its connection. */
  stop(reason: string): void {
    if (this.#isSettled) return;
    this.#settle({ kind: 'failed', reason, status: this.#toldStatus });
    this.#controller?.abort(new Error(reason));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It waited for a connection, and must not be written after all.
    if (this.#isSettled) controller.abort(new Error('nobody waits for it any more'));
    this.#isStarted = true;
    this.#controller = controller;
  }

  onRequestSent(): void {
    if (!this.#isSettled && !this.#head) this.#deps.onSent();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, _: unknown, statusText?: string): void {
    if (status < 200) return;
    const headers = ((controller.rawHeaders ?? []) as Buffer[]).map((text) => text.toString('latin1'));
    this.#head = { status, statusText: statusText ?? '', headers };
    this.#waitedMs = this.#deps.clock.monotonic() - this.#startedAt;
    this.#deps.onMoved();
    if (!this.#isHeld(this.#head)) this.#pass(this.#head);
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#deps.onMoved();
    if (this.#held) this.#hold(this.#held, controller, chunk);
    else this.#write(controller, chunk);
  }

  #hold(held: Buffer[], controller: Dispatcher.DispatchController, chunk: Buffer): void {
    held.push(chunk);
    this.#heldBytes += chunk.length;
    const { what, bytes } = this.#deps.holds;
    const head = this.#head as Head;
    if (this.#heldBytes <= bytes && (what === 'any' || !isPlain(head.headers) || mayBeObject(held[0]))) return;
    if (what === 'any') throw new TooLong();
    this.#pass(head, controller);
  }

  onResponseEnd(_: Dispatcher.DispatchController, trailers: Trailers): void {
    const { response } = this.#deps;
    const head = this.#head as Head;
    if (this.#held) {
      const [first] = this.#held;
      const body = first && this.#held.length === 1 ? first : Buffer.concat(this.#held);
      this.#settle({ kind: 'small', head, body, trailers });
      return;
    }
    const rest = this.#mask.flush();
    if (rest.length > 0) response.write(rest);
    const done = () => this.#settle({ kind: 'passed', status: head.status });
    endWith(response, undefined, trailers, this.#deps.secrets, done);
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#isSettled) return;
    if (!this.#isStarted && isClosed(error) && this.#again) {
      this.#again = false;
      this.#dispatch();
    } else this.#settle({ kind: 'failed', reason: this.#reasonOf(error), status: this.#toldStatus });
  }

  #dispatch(): void {
    const { upstream, request, open } = this.#deps;
    try {
      upstream.dispatch({ ...request, body: open() }, this);
    } catch (error) {
      this.#settle({ kind: 'failed', reason: this.#reasonOf(error), status: 0 });
    }
  }

  #reasonOf(error: unknown): string {
    if (error instanceof TooLong) return 'WeChat answered more than such a call can have.';
    if (this.#head) return 'WeChat answered in part, and then the connection was closed.';
    return this.#deps.upstream.explain(error);
  }

  get #toldStatus(): number {
    return this.#held ? 0 : (this.#head?.status ?? 0);
  }

  #settle(result: Attempted): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#resolve(result);
  }

  #isHeld({ status, headers }: Head): boolean {
    const { holds, request } = this.#deps;
    if (holds.what === 'any') return true;
    if (status !== 200 || request.method === 'HEAD' || !isText(headers)) return false;
    return Number(headerOf(headers, 'content-length') ?? 0) <= holds.bytes;
  }

  /** From here on the answer goes to the client as it comes. */
  #pass(head: Head, controller?: Dispatcher.DispatchController): void {
    const { response, secrets } = this.#deps;
    const length = headerOf(head.headers, 'content-length');
    this.#isMasked = isPlain(head.headers);
    writeHead(response, head, secrets, length);
    const held = this.#held ?? [];
    this.#held = undefined;
    // Node would write other characters in UTF-8; with the body's first bytes they go as they came.
    if (head.headers.every((text) => /^[\t\x20-\x7e]*$/.test(text))) response.flushHeaders();
    if (controller) for (const chunk of held) this.#write(controller, chunk);
  }

  #write(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const { response, onMoved } = this.#deps;
    const piece = this.#isMasked ? this.#mask.push(chunk) : chunk;
    if (piece.length === 0 || response.write(piece) || controller.paused) return;
    controller.pause();
    response.once('drain', () => {
      onMoved();
      controller.resume();
    });
  }
}

/** Writes an answer's head. `length` is that of its body; undefined: it is not known. */
export function writeHead(
  response: ServerResponse,
  { status, statusText, headers }: Head,
  secrets: readonly string[],
  length: string | undefined,
): void {
  const told = headersToClient(headers, secrets);
  if (length !== undefined) told.push('content-length', length);
  const words = withoutSecrets(statusText, secrets);
  // Node takes less in it than its parser does.
  if (/^[\t\x20-\x7e]+$/.test(words)) response.writeHead(status, words, told);
  else response.writeHead(status, told);
}

/** Ends an answer; its trailers have `***` for each of `secrets`. `done` is called when the system has taken all of it. */
export function endWith(
  response: ServerResponse,
  body: Buffer | undefined,
  trailers: Trailers,
  secrets: readonly string[],
  done: () => void,
): void {
  for (const [name, value] of Object.entries(trailers))
    if (value !== undefined) response.addTrailers([[name, withoutSecrets(String(value), secrets)]]);
  if (body) response.end(body, done);
  else response.end(done);
}

/** Whether an answer may be WeChat's JSON: it often says that it is plain text, or nothing. */
function isText(headers: RawHeaders): boolean {
  const type = headerOf(headers, 'content-type') ?? '';
  return type === '' || /^\s*(?:text\/|application\/(?:[\w.+-]*\+)?json\b)/i.test(type);
}

function isPlain(headers: RawHeaders): boolean {
  return /^(?:identity)?$/i.test((headerOf(headers, 'content-encoding') ?? '').trim());
}

const BRACE = 0x7b;

/** Whether it begins as a JSON object does: nothing else is a refusal, and to be held back. */
function mayBeObject(first: Buffer | undefined): boolean {
  const at = first?.findIndex((byte) => ![0x20, 0x09, 0x0a, 0x0d, 0xef, 0xbb, 0xbf].includes(byte)) ?? -1;
  const byte = first?.[at];
  return byte === undefined || byte === BRACE;
}

class TooLong extends Error {}

/** Whether the other end closed the connection. */
function isClosed(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE' || error.code === 'UND_ERR_SOCKET');
}
