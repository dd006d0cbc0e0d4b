import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, type HandlerContext } from '@connectrpc/connect';
import type { Principal } from '../core/access/principal.ts';
import type { Timer } from '../core/kernel/clock.ts';
import { callValues, type StreamControl } from '../transport/call.ts';
import { codeName } from '../transport/code-name.ts';
import { MAX_MESSAGE_BYTES, type RequestLimit } from '../transport/service.ts';
import { decode, frame, HEAD_BYTES } from './codec.ts';
import { Deframer } from './deframer.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { toHeaders, withHeaders } from './headers.ts';
import type { Held, Holder } from './held.ts';
import type { Mount } from './mount.ts';
import type { OpenCalls } from './open-calls.ts';
import { OK, toTrailers } from './status.ts';

/** A method of a mounted service, with what its calls need. */
export interface GrpcMethod {
  /** `lingpai.v1.TokenService/Get`, for metrics. */
  readonly name: string;
  readonly desc: DescMethod;
  readonly impl: (input: unknown, context: HandlerContext) => unknown;
  readonly limit: RequestLimit;
  readonly mount: Mount;
  readonly calls: OpenCalls;
  readonly held: Held;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
}

/** A call as its head tells of it. */
export interface GrpcHead {
  readonly headers: IncomingHttpHeaders;
  readonly principal: Principal;
  /** How long the caller waits; undefined: for ever. */
  readonly timeoutMs: number | undefined;
  readonly connection: GrpcConnection;
  /** To be called once when nothing of the call is left. */
  readonly done: () => void;
}

/** One for all: making an error for each call costs a twentieth of a send. */
const ENDED = new ConnectError('the call has ended', Code.Canceled);

const HEADERS: OutgoingHttpHeaders = { ':status': 200, 'content-type': 'application/grpc' };
/** The same as a list, which Node does not copy. */
const HEADER_LIST = Object.entries(HEADERS).flatMap(([name, value]) => [name, String(value)]);
const WITH_TRAILERS = { waitForTrailers: true, sendDate: false };
const WITHOUT_BODY = { endStream: true, sendDate: false };

/** A request of as many bytes or more is decoded and handled in a turn of its own. */
const LARGE_BYTES = 16_384;

/** What a call takes here and in the session besides its bytes. Until all of its request is here, it waits for its peer. */
const CALL_BYTES = 4_096;

/** How long the status of a call that was ended may wait for a reader before the stream is reset. */
const RESET_AFTER_MS = 1_000;

/** Ends a stream with a status and nothing else: gRPC's "trailers only". */
export function refuse(stream: ServerHttp2Stream, error: ConnectError): void {
  if (!stream.destroyed && !stream.closed) stream.respond({ ...HEADERS, ...toTrailers(error) }, WITHOUT_BODY);
}

/** One call on an HTTP/2 stream, and its HandlerContext; whatever a handler does not ask for is not made. */
export abstract class GrpcCall implements HandlerContext, StreamControl, Holder {
  hold: Holder['hold'];
  protected readonly stream: ServerHttp2Stream;
  protected readonly rpc: GrpcMethod;
  protected readonly requests: Deframer;
  protected over = false;
  protected readonly head: GrpcHead;
  readonly #startedAt: number;
  readonly #timer: Timer | undefined;
  #hasEnded = false;
  #request: unknown;
  #large: Uint8Array | undefined;
  #requestBytes: number | undefined;
  #reset: Timer | undefined;
  #unreadBytes = 0;
  #trailers: OutgoingHttpHeaders = OK;
  #abort: AbortController | undefined;
  #values: ContextValues | undefined;
  #requestHeader: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #releases: (() => void)[] | undefined;

  constructor(stream: ServerHttp2Stream, head: GrpcHead, rpc: GrpcMethod) {
    this.stream = stream;
    this.rpc = rpc;
    this.requests = new Deframer(rpc.limit.bytes);
    this.head = head;
    const { clock } = rpc.mount;
    this.#startedAt = clock.monotonic();
    if (head.timeoutMs !== undefined) this.#timer = clock.schedule(head.timeoutMs, () => this.fail(late()));
    rpc.calls.began();
    stream.on('wantTrailers', () => stream.sendTrailers(this.#trailers));
    stream.on('close', () => this.#closed());
  }

  /** Handles the one request message of the call. What it throws is the call's error. */
  protected abstract handle(request: unknown): void;

  /**
   * Called once, when nothing has come of the body. What comes of it is taken here instead of by the stream, which makes
   * events of it and keeps an object for each frame.
   */
  begin(): void {
    const { stream } = this;
    // Told whether to ask for more.
    stream.push = (chunk: Buffer | null) => (chunk ? this.arrived(chunk) : this.#end());
    this.open();
    if (stream.endAfterHeaders) this.#end();
  }

  /** Begins to take the body. What is never sent is waited for as long as what is never read. */
  protected open(): void {
    this.rpc.held.set(this, CALL_BYTES);
    this.askForMore();
  }

  /** Some of the body has come. Returns whether more is wanted now. */
  protected arrived(chunk: Buffer): boolean {
    this.#receive(chunk);
    return true;
  }

  /** All of the body has come. */
  protected ended(): void {
    if (this.over) return;
    try {
      if (this.requests.held > 0) throw cutOff();
      if (this.#requestBytes === undefined) throw this.#wrongCount();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (this.#large) this.rpc.pause().then(() => this.handleNow());
    else this.head.connection.inTurn(this);
  }

  protected askForMore(): void {
    if (!this.stream.destroyed && !this.#hasEnded) this.stream._read(0);
  }

  /** A stream that is destroyed says that its body has ended, too. */
  #end(): boolean {
    const { stream } = this;
    if (!this.#hasEnded && !stream.destroyed) {
      this.#hasEnded = true;
      this.ended();
    }
    Readable.prototype.push.call(stream, null);
    // Reads the end: the stream closes only then.
    if (!stream.destroyed) stream.read(0);
    return false;
  }

  protected decode(bytes: Uint8Array): unknown {
    return decode(this.rpc.desc.input, bytes, this.rpc.limit.fields);
  }

  /** Hands a message to the transport; `taken` is called when it has left, and never when the call is over before. */
  protected send(message: unknown, taken?: () => void): void {
    const bytes = frame(this.rpc.desc.output, message);
    if (bytes.length > HEAD_BYTES + MAX_MESSAGE_BYTES) {
      const words = `the answer has ${bytes.length - HEAD_BYTES} bytes and would be larger than any message: ask for less`;
      throw new ConnectError(words, Code.ResourceExhausted);
    }
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (!stream.headersSent)
      stream.respond(this.#responseHeader ? withHeaders(this.#responseHeader, HEADERS) : HEADER_LIST, WITH_TRAILERS);
    if (taken) stream.write(bytes, taken);
    else stream.end(bytes);
  }

  /** Ends the call; after `send` without `taken`, whose message then leaves together with the status. */
  protected succeed(): void {
    if (!this.over) this.#finish(0, OK);
  }

  protected fail(error: unknown): void {
    if (this.over) return;
    const status = this.rpc.mount.toError(error);
    this.#finish(status.code, toTrailers(status));
  }

  onClose(release: () => void): void {
    if (this.over) release();
    else if (this.#releases) this.#releases.push(release);
    else this.#releases = [release];
  }

  end(error: unknown): void {
    if (this.over) return;
    this.fail(error);
    // Behind data that nobody reads the status cannot leave; a reset can, and frees the data, which would otherwise be held
    // until the connection ends. gRPC clients see RESOURCE_EXHAUSTED.
    this.#reset = this.rpc.mount.clock.schedule(RESET_AFTER_MS, () => this.letGo());
  }

  /** The peer does not send the rest of its request, or does not read its answer; or others need the room. */
  letGo(): void {
    if (this.over) this.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    else
      this.end(
        new ConnectError('the rest of the request did not come, or an answer was not read', Code.ResourceExhausted),
      );
  }

  /** Releases what the call holds; called once, when its status is decided. */
  protected closed(): void {
    this.#abort?.abort(ENDED);
    if (this.#releases) for (const release of this.#releases.splice(0)) release();
  }

  #wrongCount(): ConnectError {
    return new ConnectError(`${this.rpc.name} takes exactly one request message`, Code.Unimplemented);
  }

  #receive(chunk: Buffer): void {
    if (this.over) {
      this.incomplete(chunk.length);
      return;
    }
    try {
      this.requests.push(chunk);
      for (let bytes = this.requests.next(); bytes; bytes = this.requests.next()) {
        if (this.#requestBytes !== undefined) throw this.#wrongCount();
        this.#requestBytes = bytes.length;
        // A chunk is a window on all that one read of the socket brought: kept for a small request, it would be all held.
        if (bytes.length < LARGE_BYTES) this.#request = this.decode(bytes);
        else this.#large = bytes;
      }
      if (this.requests.held > 0) this.incomplete(chunk.length);
      this.rpc.held.set(this, CALL_BYTES + this.requests.held + (this.#requestBytes ?? 0));
    } catch (error) {
      this.fail(error);
    }
  }

  /** What has come of a message is kept until the rest is here. What comes after the status is dropped. */
  protected incomplete(chunkBytes: number): void {
    this.requests.keep();
    this.head.connection.incomplete(chunkBytes);
  }

  /** Handles the request, which is whole. */
  handleNow(): void {
    if (this.over) return;
    try {
      const request = this.#large ? this.decode(this.#large) : this.#request;
      this.#request = this.#large = undefined;
      this.handle(request);
      // A call that was answered at once holds its answer now.
      if (!this.over) this.rpc.held.delete(this);
    } catch (error) {
      this.fail(error);
    }
  }

  #finish(code: Code | 0, trailers: OutgoingHttpHeaders): void {
    this.#trailers = this.#responseTrailer ? withHeaders(this.#responseTrailer, trailers) : trailers;
    this.#close(code);
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    // It holds its answer until that has left.
    this.#unreadBytes = stream.writableLength;
    this.rpc.held.set(this, this.#unreadBytes);
    this.head.connection.unread(this.#unreadBytes);
    if (stream.writableEnded || stream.destroyed) return;
    if (stream.headersSent) stream.end();
    else if (code === 0 || this.#responseHeader) {
      stream.respond(withHeaders(this.#responseHeader, HEADERS), WITH_TRAILERS);
      stream.end();
    } else stream.respond({ ...HEADERS, ...this.#trailers }, WITHOUT_BODY);
  }

  #closed(): void {
    this.rpc.held.delete(this);
    this.head.connection.unread(-this.#unreadBytes);
    this.#reset?.cancel();
    if (!this.over) this.#close(Code.Canceled);
    this.head.done();
  }

  #close(code: Code | 0): void {
    this.over = true;
    this.#timer?.cancel();
    this.requests.clear();
    const { mount, calls, name } = this.rpc;
    this.closed();
    calls.ended();
    mount.rpc(name, codeName(code), mount.clock.monotonic() - this.#startedAt);
  }

  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.over) this.#abort.abort(ENDED);
    }
    return this.#abort.signal;
  }

  timeoutMs(): number | undefined {
    const { timeoutMs } = this.head;
    return timeoutMs === undefined ? undefined : this.#startedAt + timeoutMs - this.rpc.mount.clock.monotonic();
  }

  get values(): ContextValues {
    this.#values ??= callValues(this, { caller: this.head.principal, peer: this.head.connection.peer });
    return this.#values;
  }

  get requestHeader(): Headers {
    this.#requestHeader ??= toHeaders(this.head.headers);
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
    return `http://${this.head.headers[':authority'] ?? ''}/${this.rpc.name}`;
  }
}

/** The error of a call whose caller waits no longer. */
export function late(): ConnectError {
  return new ConnectError("the call's deadline has passed", Code.DeadlineExceeded);
}

/** The error of a call whose body ends before its last message does. */
export function cutOff(): ConnectError {
  return new ConnectError('the request ends in the middle of a message', Code.InvalidArgument);
}
