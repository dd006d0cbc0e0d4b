import type { SendTemplatesRequest, SendTemplatesResponse } from '../gen/lingpai/v1/message_pb.js';

/** What a stream of messages is made of. */
export interface SendStreamDeps {
  /** Answers one request; it never rejects. */
  readonly send: (request: SendTemplatesRequest) => Promise<SendTemplatesResponse>;
  /** How many messages may be under way or answered without the answer having been asked for. */
  readonly limit: number;
  /** When it aborts, no more requests are read; the stream ends with its reason when those under way are answered. */
  readonly draining: AbortSignal;
}

/**
 * The responses of one SendTemplates call. A request is read only when fewer than `limit` are under way or wait for their
 * reader, so that neither a fast caller nor one that does not read makes it grow. A malformed request ends the stream, as
 * draining does: after the answers to what was read before.
 *
 * It is written out, and not an async generator, because it reads and is read at the same time.
 */
export class SendStream implements AsyncIterableIterator<SendTemplatesResponse> {
  readonly #deps: SendStreamDeps;
  readonly #requests: AsyncIterator<SendTemplatesRequest>;
  readonly #answers: SendTemplatesResponse[] = [];
  #underWay = 0;
  #isReading = false;
  /** No more requests are read. `error`: what the stream ends with. */
  #end: { readonly error?: unknown } | undefined;
  #reader: PromiseWithResolvers<IteratorResult<SendTemplatesResponse>> | undefined;

  constructor(requests: AsyncIterable<SendTemplatesRequest>, deps: SendStreamDeps) {
    this.#deps = deps;
    this.#requests = requests[Symbol.asyncIterator]();
    if (deps.draining.aborted) this.#drain();
    else deps.draining.addEventListener('abort', this.#drain);
    this.#move();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<SendTemplatesResponse>> {
    this.#reader = Promise.withResolvers();
    const { promise } = this.#reader;
    this.#move();
    return promise;
  }

  return(): Promise<IteratorResult<SendTemplatesResponse>> {
    this.#stop({});
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Does what can be done now: answers the reader, or reads on. */
  #move(): void {
    const reader = this.#reader;
    const answer = reader && this.#answers.shift();
    if (answer) {
      this.#reader = undefined;
      reader.resolve({ done: false, value: answer });
    } else if (reader && this.#end && this.#underWay === 0) {
      const { error } = this.#end;
      this.#reader = undefined;
      this.#end = {};
      if (error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(error);
    }
    if (this.#end || this.#isReading || this.#underWay + this.#answers.length >= this.#deps.limit) return;
    this.#isReading = true;
    this.#requests.next().then(this.#take, this.#fail);
  }

  readonly #take = (result: IteratorResult<SendTemplatesRequest>): void => {
    this.#isReading = false;
    // What is read after the end is left alone: it was not begun, and nobody is told that it was.
    if (this.#end) return;
    if (result.done) {
      this.#stop({});
      return;
    }
    this.#underWay++;
    void this.#deps.send(result.value).then((answer) => {
      this.#underWay--;
      this.#answers.push(answer);
      this.#move();
    });
    this.#move();
  };

  readonly #fail = (error: unknown): void => this.#stop({ error });

  readonly #drain = (): void => this.#stop({ error: this.#deps.draining.reason });

  #stop(end: { readonly error?: unknown }): void {
    this.#deps.draining.removeEventListener('abort', this.#drain);
    this.#end ??= end;
    this.#move();
  }
}
