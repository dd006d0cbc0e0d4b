import { isIPv6, type Socket } from 'node:net';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import { peerName } from '../transport/peer.ts';

/** How many connections a listener holds at once. */
export interface ConnectionLimits {
  readonly inAll: number;
  /** From one address: an IPv4 address, or an IPv6 network of 64 bits, which is what one host is given. */
  readonly perPeer: number;
}

/** Why a connection was refused: the listener has as many as it takes, or the peer has. */
export interface Refusal {
  readonly cap: keyof ConnectionLimits;
  /** How many there are, all of the cap. */
  readonly connections: number;
  /** The address that was refused, as `perPeer` counts it. */
  readonly peer: string;
  /** How many were refused since this was told last, this one included. */
  readonly refused: number;
}

/** What a limiter is made of. */
export interface ConnectionsOptions {
  /** A tally: what it counts is shared with others. */
  readonly limits: ConnectionLimits | Tally;
  /** Counts connections whose answer lasts instead, as long as it has room. Default: they are counted as the others are. */
  readonly lasting?: Tally | undefined;
  /** How long a connection may have nothing to do, from its first moment on. */
  readonly idleMs: number;
  readonly clock: Clock;
  /** Told of the first refusal, and then at most every 10 minutes: a stranger causes them. */
  readonly onRefused: (refusal: Refusal) => void;
}

/** A connection that was let in. */
export interface Connection {
  /** Says that the connection has something to do. It is not idle until everything that this handed out was called. */
  work(): () => void;
  /** It ends as if it had long been idle, as soon as it has nothing to do. */
  retire(): void;
  /** A caller that was let in has an answer that lasts: strangers are to find its place free until what this returns is called. */
  lasts(): () => void;
}

/** Files that stay for WeChat and the store, and those that the process has open for itself (a bare Node has 23). */
const KEPT_FILES = 64;
const OWN_FILES = 32;
/** However few files may be open, a listener that takes no connection is none. */
const LEAST = 16;
/** Where there are files in plenty, memory is the bound. */
const MOST = { grpc: 16_384, http: 2_048, gateway: 2_048 } as const;
const TELL_AGAIN_MS = 600_000;

/**
 * Divides the files that the process may have open (infinite: no limit) between the listeners. What gRPC has is for the streams
 * over HTTP too, which take a connection each.
 */
export function connectionLimits(
  openFiles: number,
  hasGateway = false,
): Readonly<Record<keyof typeof MOST, ConnectionLimits>> {
  const files = openFiles - KEPT_FILES - OWN_FILES;
  const http = Math.floor(Math.min(MOST.http, files / 4));
  const gateway = hasGateway ? Math.floor(Math.min(MOST.gateway, files / 4)) : 0;
  // A call that the gateway passes on has a connection to WeChat too.
  const grpc = Math.min(MOST.grpc, files - http - 2 * gateway);
  return { grpc: limitsOf(grpc), http: limitsOf(http), gateway: limitsOf(gateway) };
}

function limitsOf(most: number): ConnectionLimits {
  const inAll = Math.max(LEAST, most);
  return { inAll, perPeer: Math.ceil(inAll / 2) };
}

/** How many connections there are, in all and of each peer. */
export class Tally {
  readonly #limits: ConnectionLimits;
  readonly #peers = new Map<string, number>();
  #count = 0;

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  /** The cap that one more of this peer would exceed, and how many there are. */
  full(peer: string): Pick<Refusal, 'cap' | 'connections'> | undefined {
    const { inAll, perPeer } = this.#limits;
    if (this.#count >= inAll) return { cap: 'inAll', connections: inAll };
    if ((this.#peers.get(peer) ?? 0) >= perPeer) return { cap: 'perPeer', connections: perPeer };
    return undefined;
  }

  add(peer: string): void {
    this.#count++;
    this.#peers.set(peer, (this.#peers.get(peer) ?? 0) + 1);
  }

  delete(peer: string): void {
    this.#count--;
    const left = (this.#peers.get(peer) ?? 0) - 1;
    if (left > 0) this.#peers.set(peer, left);
    else this.#peers.delete(peer);
  }
}

/** Where a connection is counted. */
class Place {
  readonly #peer: string;
  readonly #lasting: Tally | undefined;
  readonly #home: Tally;
  #tally: Tally | undefined;

  constructor(peer: string, tally: Tally, lasting: Tally | undefined) {
    this.#peer = peer;
    this.#home = tally;
    this.#tally = tally;
    this.#lasting = lasting;
    tally.add(peer);
  }

  lasts(): () => void {
    const lasting = this.#lasting;
    if (!lasting || this.#tally !== this.#home || lasting.full(this.#peer)) return () => {};
    this.#move(lasting);
    return () => {
      if (this.#tally === lasting) this.#move(this.#home);
    };
  }

  leave(): void {
    this.#tally?.delete(this.#peer);
    this.#tally = undefined;
  }

  #move(tally: Tally): void {
    this.leave();
    this.#tally = tally;
    tally.add(this.#peer);
  }
}

/** The connections of one listener: it lets in so many, and ends those that have nothing to do. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Map<Socket, Idle>();
  readonly #tally: Tally;
  #toldAt = Number.NEGATIVE_INFINITY;
  #refused = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    const { limits } = options;
    this.#tally = limits instanceof Tally ? limits : new Tally(limits);
  }

  /** How many there are. */
  get count(): number {
    return this.#open.size;
  }

  /**
   * Counts a socket until it is closed, or resets it and returns undefined: then it must not be used.
   * `end` is called at the end of each idle time, and by default destroys the socket.
   */
  admit(socket: Socket, end: () => void = () => socket.destroy()): Connection | undefined {
    const peer = peerOf(socket);
    const full = this.#tally.full(peer);
    if (full) return this.#refuse(socket, { ...full, peer });
    const { clock, idleMs, lasting } = this.#options;
    const place = new Place(peer, this.#tally, lasting);
    const idle = new Idle({ clock, idleMs, end, place });
    this.#open.set(socket, idle);
    socket.once('close', () => {
      idle.stop();
      this.#open.delete(socket);
      place.leave();
    });
    return idle;
  }

  /** Each ends as soon as it has nothing to do; one that had nothing yet may have it on its way, and keeps its idle time. */
  retire(): void {
    for (const idle of this.#open.values()) idle.drain();
  }

  /** Ends all at once. */
  destroy(): void {
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #refuse(socket: Socket, refusal: Omit<Refusal, 'refused'>): undefined {
    // What is lost on the way is the peer's affair; without a listener it would end the process.
    socket.on('error', () => {});
    socket.resetAndDestroy();
    this.#refused++;
    const now = this.#options.clock.monotonic();
    if (now - this.#toldAt < TELL_AGAIN_MS) return;
    this.#toldAt = now;
    this.#options.onRefused({ ...refusal, refused: this.#refused });
    this.#refused = 0;
  }
}

/** Measures how long a connection has had nothing to do. */
class Idle implements Connection {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #end: () => void;
  readonly #place: Place;
  #working = 0;
  #since: number;
  #stopped = false;
  #retired = false;
  #hasWorked = false;
  #timer: Timer | undefined;

  constructor({ clock, idleMs, end, place }: { clock: Clock; idleMs: number; end: () => void; place: Place }) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#end = end;
    this.#place = place;
    this.#since = clock.monotonic();
    this.#arm(idleMs);
  }

  work(): () => void {
    this.#working++;
    this.#hasWorked = true;
    let done = false;
    return () => {
      if (done) return;
      done = true;
      if (--this.#working > 0) return;
      this.#since = this.#clock.monotonic();
      if (this.#retired) return this.#end();
      // A timer for each piece of work would cost more than most of it: the one that runs looks again.
      if (!this.#timer) this.#arm(this.#idleMs);
    };
  }

  retire(): void {
    this.#retired = true;
    if (this.#working === 0) this.#end();
  }

  drain(): void {
    if (this.#hasWorked) this.retire();
    else this.#retired = true;
  }

  lasts(): () => void {
    return this.#place.lasts();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#clock.schedule(delayMs, () => {
      this.#timer = undefined;
      if (this.#working > 0) return;
      const leftMs = this.#since + this.#idleMs - this.#clock.monotonic();
      if (leftMs > 0) return this.#arm(leftMs);
      this.#arm(this.#idleMs);
      this.#end();
    });
  }
}

/** The peer that a socket counts as. */
function peerOf(socket: Pick<Socket, 'remoteAddress'>): string {
  const address = peerName(socket);
  return isIPv6(address) ? networkOf(address) : address;
}

/** The first 64 bits: `2001:db8:0:1::/64`. */
function networkOf(address: string): string {
  const [head = '', tail] = address.split('%')[0]?.split('::') ?? [];
  const before = head.split(':').filter(Boolean);
  const after = (tail ?? '').split(':').filter(Boolean);
  const zeros = tail === undefined ? 0 : 8 - before.length - after.length;
  const groups = [...before, ...Array<string>(zeros).fill('0'), ...after];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
