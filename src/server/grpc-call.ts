import type { ServerHttp2Stream } from 'node:http2';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, createContextValues, type HandlerContext } from '@connectrpc/connect';
import { Metadata, type ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { codeName } from './code-name.ts';
import { decode, frame } from './codec.ts';
import { toHeaders, toMetadata } from './headers.ts';
import type { Mount } from './mount.ts';
import type { OpenCalls } from './open-calls.ts';
import { toStatus } from './status.ts';

/** A method of a mounted service, with what its calls need. */
export interface GrpcMethod {
  /** `lingpai.v1.TokenService/Get`, for metrics. */
  readonly name: string;
  readonly desc: DescMethod;
  readonly impl: (input: unknown, context: HandlerContext) => unknown;
  readonly mount: Mount;
  readonly calls: OpenCalls;
}

/** One for all: making an error for each call costs a twentieth of a send. */
const ENDED = new ConnectError('the call has ended', Code.Canceled);
const NO_METADATA = new Metadata();
const OK = { code: 0, details: 'OK', metadata: null };

/**
 * One call on grpc-js's own call object, and its HandlerContext. It lies below grpc-js's handlers, which make a Writable
 * for each call, unary ones too, and queue without bound; whatever a handler does not ask for is not made.
 */
export abstract class GrpcCall implements HandlerContext {
  protected readonly call: ServerInterceptingCallInterface;
  protected readonly rpc: GrpcMethod;
  protected over = false;
  readonly #startedAt: number;
  #metadata: Metadata | undefined;
  #request: Uint8Array | undefined;
  #abort: AbortController | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #headerSent = false;

  constructor(call: ServerInterceptingCallInterface, rpc: GrpcMethod) {
    this.call = call;
    this.rpc = rpc;
    this.#startedAt = rpc.mount.clock.monotonic();
    rpc.calls.began();
  }

  /** Handles the one request message of the call. What it throws is the call's error. */
  protected abstract handle(request: unknown): void;

  onReceiveMetadata(metadata: Metadata): void {
    this.#metadata = metadata;
    this.begin();
  }

  protected begin(): void {
    this.call.startRead();
  }

  onReceiveMessage(bytes: Uint8Array): void {
    if (this.#request) this.fail(this.#wrongCount());
    this.#request = bytes;
    this.call.startRead();
  }

  onReceiveHalfClose(): void {
    try {
      if (!this.#request) throw this.#wrongCount();
      this.handle(this.decode(this.#request));
    } catch (error) {
      this.fail(error);
    }
  }

  /** The call is over for grpc-js: ended, cancelled, timed out or cut off. */
  onCancel(): void {
    if (this.over) return;
    const late = Number(this.call.getDeadline()) <= Date.now();
    this.#close(late ? Code.DeadlineExceeded : Code.Canceled);
  }

  protected decode(bytes: Uint8Array): unknown {
    return decode(this.rpc.desc.input, bytes);
  }

  /**
   * Hands a message to the transport; `taken` is called when it has left, and never when the call is over before.
   *
   * It is written to the HTTP/2 stream: grpc-js copies a message into a buffer of its own for each call, which for 10,000
   * watchers is as much work as all the rest.
   */
  protected send(message: unknown, taken: () => void): void {
    const bytes = frame(this.rpc.desc.output, message);
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (!this.#headerSent)
      this.call.sendMetadata(this.#responseHeader ? toMetadata(this.#responseHeader) : NO_METADATA);
    this.#headerSent = true;
    stream.write(bytes, taken);
  }

  /** The HTTP/2 stream below grpc-js's call. */
  protected get stream(): ServerHttp2Stream {
    return (this.call as unknown as { readonly stream: ServerHttp2Stream }).stream;
  }

  protected succeed(): void {
    if (this.over) return;
    this.call.sendStatus(this.#responseTrailer ? { ...OK, metadata: toMetadata(this.#responseTrailer) } : OK);
    this.#close(0);
  }

  protected fail(error: unknown): void {
    if (this.over) return;
    const status = this.rpc.mount.toError(error);
    this.call.sendStatus(toStatus(status));
    this.#close(status.code);
  }

  /** Releases what the call holds; called once, when its status is decided. */
  protected closed(): void {
    this.#abort?.abort(ENDED);
  }

  #wrongCount(): ConnectError {
    return new ConnectError(`${this.rpc.name} takes exactly one request message`, Code.Unimplemented);
  }

  #close(code: Code | 0): void {
    this.over = true;
    const { mount, calls, name } = this.rpc;
    this.closed();
    calls.ended();
    mount.rpc(name, codeName(code), mount.clock.monotonic() - this.#startedAt);
  }

  protected newValues(): ContextValues {
    return createContextValues();
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.over) this.#abort.abort(ENDED);
    }
    return this.#abort.signal;
  }

  timeoutMs(): number | undefined {
    const deadline = Number(this.call.getDeadline());
    return Number.isFinite(deadline) ? deadline - Date.now() : undefined;
  }

  get values(): ContextValues {
    this.#values ??= this.newValues();
    return this.#values;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= this.#metadata ? toHeaders(this.#metadata) : new Headers();
    return this.#requestHeader;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get method(): DescMethod {
    return this.rpc.desc;
  }

  get service(): DescService {
    return this.rpc.desc.parent;
  }

  get requestMethod(): string {
    return 'POST';
  }

  get protocolName(): string {
    return 'grpc';
  }

  get url(): string {
    return `http://${this.call.getHost()}/${this.rpc.name}`;
  }
}
