import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { DescMethod } from '@bufbuild/protobuf';
import type { ConnectError, ContextValues, HandlerContext } from '@connectrpc/connect';
import type { Clock } from '../core/kernel/clock.ts';
import type { Feed } from '../transport/service.ts';
import { frame } from './codec.ts';
import { withHeaders } from './headers.ts';
import { gate, type HttpCall } from './http-call.ts';
import { Outflow, type Outlet } from './outflow.ts';
import { ServerCall } from './server-call.ts';
import type { StreamFormat } from './stream-format.ts';
import { reset } from './tls.ts';

/** What a stream is an answer to. */
export interface StreamParts {
  readonly method: DescMethod;
  readonly format: StreamFormat;
  readonly call: HttpCall;
  readonly clock: Clock;
  /** Called once the stream begins; what it returns, when it is over. */
  readonly lasts: () => () => void;
}

/** Answers a request with a stream of responses. */
export type StreamImpl = (request: unknown, context: HandlerContext) => AsyncIterable<unknown> | Feed;

/**
 * A server-streaming call over HTTP/1.1, as Connect or gRPC-Web. What all streams of a format are sent is encoded once, and
 * written as it is.
 */
export class HttpStream extends ServerCall implements Outlet {
  readonly method: DescMethod;
  readonly #response: ServerResponse;
  readonly #format: StreamFormat;
  readonly #call: HttpCall;
  readonly #lasts: () => () => void;
  readonly #outflow = new Outflow(this);

  constructor(response: ServerResponse, { method, format, call, clock, lasts }: StreamParts) {
    super(clock);
    this.method = method;
    this.#response = response;
    this.#format = format;
    this.#call = call;
    this.#lasts = lasts;
    response.once('close', () => {
      if (!this.over) this.closed();
    });
  }

  /** Calls the handler once its request is read, and sends what it returns. Whatever fails is the call's error. */
  async begin(read: () => Promise<unknown>, impl: StreamImpl): Promise<void> {
    try {
      gate(this);
      this.waitAtMost(this.#format.timeoutMs(this.headers));
      const request = await read();
      if (this.over) return;
      const responses = impl(request, this);
      this.#response.once('close', this.#lasts());
      this.#outflow.begin(responses);
    } catch (error) {
      this.fail(error);
    }
  }

  send(message: unknown, left: (error?: Error | null) => void): void {
    const bytes = frame(this.method.output, message, this.#format.codec);
    if (this.#response.destroyed) return;
    this.#sendHead();
    this.#response.write(bytes, left);
  }

  waiting(): void {}

  succeed(): void {
    if (this.over) return;
    this.#call.succeeded();
    this.#finish(undefined);
  }

  fail(error: unknown): void {
    if (!this.over) this.#finish(this.#call.failed(error));
  }

  end(error: unknown): void {
    if (this.over) return;
    // The status would wait behind data that nobody reads.
    const { isSending } = this.#outflow;
    this.fail(error);
    if (isSending) reset(this.#request.socket);
  }

  protected override closed(): void {
    super.closed();
    this.#outflow.close();
  }

  #sendHead(): void {
    const { contentType } = this.#format;
    if (!this.#response.headersSent)
      this.#response.writeHead(200, withHeaders(this.headersSet, { 'content-type': contentType }));
  }

  #finish(error: ConnectError | undefined): void {
    const trailers = this.trailersSet;
    this.closed();
    if (this.#response.destroyed) return;
    try {
      this.#sendHead();
      this.#response.end(this.#format.last(trailers ?? new Headers(), error));
    } catch (fault) {
      // Nobody is left to be told, and it would end the process.
      this.#call.failed(fault);
      this.#response.destroy();
    }
  }

  protected override makeValues(): ContextValues {
    return this.#call.values(this);
  }

  protected override get headers(): IncomingHttpHeaders {
    return this.#request.headers;
  }

  get protocolName(): string {
    return this.#format.protocolName;
  }

  get url(): string {
    const { headers, url = '', socket } = this.#request;
    const scheme = 'encrypted' in socket ? 'https' : 'http';
    return `${scheme}://${headers.host ?? ''}${url}`;
  }

  get #request(): IncomingMessage {
    return this.#response.req;
  }
}
