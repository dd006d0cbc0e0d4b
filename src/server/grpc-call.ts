import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { Readable } from 'node:stream';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code, ConnectError, type ContextValues, type HandlerContext } from '@connectrpc/connect';
import type { Principal } from '../core/access/principal.ts';
import type { Timer } from '../core/kernel/clock.ts';
import { callValues } from '../transport/call.ts';
import { codeName } from '../transport/code-name.ts';
import type { RequestLimit } from '../transport/service.ts';
import { decode, frame } from './codec.ts';
import { cutOff, Deframer, wrongCount } from './deframer.ts';
import type { GrpcConnection } from './grpc-connection.ts';
import { withHeaders } from './headers.ts';
import type { Held, Holder } from './held.ts';
import type { Mount } from './mount.ts';
import type { OpenCalls } from './open-calls.ts';
import { ServerCall } from './server-call.ts';
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

/** One call on an HTTP/2 stream. */
export abstract class GrpcCall extends ServerCall implements Holder {
  hold: Holder['hold'];
  protected readonly stream: ServerHttp2Stream;
  protected readonly rpc: GrpcMethod;
  protected readonly requests: Deframer;
  protected readonly head: GrpcHead;
  #hasEnded = false;
  #request: unknown;
  #large: Uint8Array | undefined;
  #requestBytes: number | undefined;
  #reset: Timer | undefined;
  #unreadBytes = 0;
  #trailers: OutgoingHttpHeaders = OK;

  constructor(stream: ServerHttp2Stream, head: GrpcHead, rpc: GrpcMethod) {
    super(rpc.mount.clock);
    this.stream = stream;
    this.rpc = rpc;
    this.requests = new Deframer(rpc.limit.bytes);
    this.head = head;
    this.waitAtMost(head.timeoutMs);
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
      if (this.#requestBytes === undefined) throw wrongCount(this.rpc.name);
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
  send(message: unknown, taken?: () => void): void {
    const bytes = frame(this.rpc.desc.output, message);
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (!stream.headersSent)
      stream.respond(this.headersSet ? withHeaders(this.headersSet, HEADERS) : HEADER_LIST, WITH_TRAILERS);
    if (taken) stream.write(bytes, taken);
    else stream.end(bytes);
  }

  /** Ends the call; after `send` without `taken`, whose message then leaves together with the status. */
  succeed(): void {
    if (!this.over) this.#finish(0, OK);
  }

  fail(error: unknown): void {
    if (this.over) return;
    const status = this.rpc.mount.toError(error);
    this.#finish(status.code, toTrailers(status));
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

  #receive(chunk: Buffer): void {
    if (this.over) {
      this.incomplete(chunk.length);
      return;
    }
    try {
      this.requests.push(chunk);
      for (let bytes = this.requests.next(); bytes; bytes = this.requests.next()) {
        if (this.#requestBytes !== undefined) throw wrongCount(this.rpc.name);
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
    this.#trailers = withHeaders(this.trailersSet, trailers);
    this.#close(code);
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    // It holds its answer until that has left.
    this.#unreadBytes = stream.writableLength;
    this.rpc.held.set(this, this.#unreadBytes);
    this.head.connection.unread(this.#unreadBytes);
    if (stream.writableEnded || stream.destroyed) return;
    if (stream.headersSent) stream.end();
    else if (code === 0 || this.headersSet) {
      stream.respond(withHeaders(this.headersSet, HEADERS), WITH_TRAILERS);
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
    this.requests.clear();
    const { mount, calls, name } = this.rpc;
    this.closed();
    calls.ended();
    mount.rpc(name, codeName(code), mount.clock.monotonic() - this.startedAt);
  }

  protected override makeValues(): ContextValues {
    return callValues(this, { caller: this.head.principal, peer: this.head.connection.peer });
  }

  protected override get headers(): IncomingHttpHeaders {
    return this.head.headers;
  }

  override get method(): DescMethod {
    return this.rpc.desc;
  }

  override get protocolName(): string {
    return 'grpc';
  }

  override get url(): string {
    return `http://${this.head.headers[':authority'] ?? ''}/${this.rpc.name}`;
  }
}
