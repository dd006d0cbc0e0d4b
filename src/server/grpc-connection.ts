import { constants, performServerHandshake, type ServerHttp2Session, type ServerOptions } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../core/kernel/clock.ts';
import { peerName } from '../transport/peer.ts';

/** The largest head of a call, each field with 32 bytes more, as HTTP/2 counts it. */
export const MAX_HEADER_BYTES = 8_192;

/**
 * What a connection may do. nghttp2 and Node bound the rest: at most 8 CONTINUATION frames a head, 1,000 answers to pings
 * and settings that the peer does not read, 1,000 resets at once and 33 a second thereafter, 1,000 invalid or empty frames.
 */
const OPTIONS: ServerOptions = {
  settings: { maxConcurrentStreams: 1_000, maxHeaderListSize: MAX_HEADER_BYTES, enablePush: false },
  maxHeaderListPairs: 100,
  /** Else Node leaves out a header with white space around its value, and a bearer that is wrong is none. */
  strictFieldWhitespaceValidation: false,
  /** In megabytes: streams, tables, and what waits to be sent. Beyond it streams are refused. */
  maxSessionMemory: 16,
};

/** A peer that is silent for so long is asked whether it is there, and has so long to answer. */
const PING_AFTER_MS = 30_000;
const PING_TIMEOUT_MS = 10_000;

/** DATA of fewer bytes that completes no message costs as much work as any, and memory many times its size. */
const CRUMB_BYTES = 64;
/** How many of those a connection may send between two ticks. What clients send has next to none. */
const MAX_CRUMBS = 1_000;

/** Answers of so many bytes that wait for their reader end a connection: what is asked for further would be made for nobody. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;

/**
 * How many calls of a connection are handled in one turn of the loop. What one read of its socket brought may hold a thousand,
 * and others are not to wait for all of them.
 */
const CALLS_A_TURN = 100;

/** A call whose request is whole. */
export interface ReadyCall {
  handleNow(): void;
}

/** How often a connection is to be told that time passes. */
export const TICK_MS = 5_000;

/** One HTTP/2 connection, on a socket that is connected, plain or TLS. */
export class GrpcConnection {
  readonly session: ServerHttp2Session;
  /** The address at its other end. */
  readonly peer: string;
  /** Its bidirectional calls that are open. */
  bidiCalls = 0;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #acceptedAt: number;
  #greeted = false;
  #pingedAt: number;
  #answered = true;
  #crumbs = 0;
  #unreadBytes = 0;
  #destroyedAt: number | undefined;
  /** Calls that were handled in this turn, and those that wait for another. */
  #handled = 0;
  #ready: ReadyCall[] = [];

  constructor(socket: Socket, clock: Clock) {
    this.#socket = socket;
    this.peer = peerName(socket);
    this.#clock = clock;
    this.#acceptedAt = clock.monotonic();
    this.#pingedAt = this.#acceptedAt;
    this.session = performServerHandshake(socket, OPTIONS);
    this.session.once('remoteSettings', () => {
      this.#greeted = true;
    });
    // What a peer does wrong ends its connection, and is nobody else's affair.
    this.session.on('error', () => {});
  }

  /** Accepts no more calls, and ends when those in progress have. */
  close(): void {
    this.session.close();
  }

  /** A call was sent so many bytes that did not complete a message. Ends a connection that sends little else. */
  incomplete(bytes: number): void {
    if (bytes < CRUMB_BYTES && ++this.#crumbs > MAX_CRUMBS) this.#calm();
  }

  /** Answers of so many bytes more wait for their reader, or of so many fewer. */
  unread(bytes: number): void {
    this.#unreadBytes += bytes;
    if (this.#unreadBytes > MAX_UNREAD_BYTES) this.#calm();
  }

  /** Handles the call, now or in a later turn. */
  inTurn(call: ReadyCall): void {
    if (this.#handled === 0) setImmediate(this.#nextTurn);
    if (this.#handled < CALLS_A_TURN) {
      this.#handled++;
      call.handleNow();
    } else this.#ready.push(call);
  }

  /** Finds out whether the peer is still there. */
  tick(): void {
    this.#crumbs = 0;
    const { session } = this;
    const now = this.#clock.monotonic();
    if (session.destroyed) {
      // Node has said goodbye and waits for the peer to do so, however long that takes.
      this.#destroyedAt ??= now;
      if (now - this.#destroyedAt >= PING_TIMEOUT_MS) this.#socket.destroy();
      return;
    }
    if (session.closed) return;
    if (!this.#answered && now - this.#pingedAt >= PING_TIMEOUT_MS) this.#suspect();
    else if (!this.#greeted && now - this.#acceptedAt >= PING_TIMEOUT_MS) session.destroy();
    else if (this.#answered && now - this.#pingedAt >= PING_AFTER_MS) this.#ping(now);
  }

  readonly #nextTurn = (): void => {
    this.#handled = 0;
    for (const call of this.#ready.splice(0, CALLS_A_TURN)) this.inTurn(call);
  };

  #calm(): void {
    if (this.session.destroyed) return;
    this.session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    this.session.destroy();
  }

  #ping(now: number): void {
    this.#pingedAt = now;
    this.#answered = false;
    this.session.ping(() => {
      this.#answered = true;
    });
  }

  /** A machine that slept sees the time-out before the answer that has long come: that is read first. */
  #suspect(): void {
    setImmediate(() => {
      if (!this.#answered) this.#socket.destroy();
    });
  }
}
