import type { Clock, Timer } from '../core/kernel/clock.ts';

/** Something that holds memory for a peer that has not sent all of its request, or not read all of its answer. */
export interface Holder {
  /** Kept by `Held`. */
  hold: Hold | undefined;
  /** Ends it and frees what it holds. It is no longer held. */
  letGo(): void;
}

/** How much a holder holds, and since when. */
interface Hold {
  readonly since: number;
  bytes: number;
}

/** How many let go in one turn of the loop: each resets a stream, and others are not to wait for thousands of those. */
const RELEASED_AT_ONCE = 100;

/** What is held for peers in all: none for longer than a fixed time, and not more than so many bytes together. */
export class Held {
  readonly #clock: Clock;
  #limitMs: number;
  readonly #limitBytes: number;
  readonly #holders = new Set<Holder>();
  #bytes = 0;
  #isMakingRoom = false;
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(clock: Clock, limitMs: number, limitBytes: number) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#limitBytes = limitBytes;
  }

  /** How many bytes are held in all. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The holder holds so many bytes, from now on or still. When all are too many, those that have held longest let go. */
  set(holder: Holder, bytes: number): void {
    if (holder.hold) this.#bytes -= holder.hold.bytes;
    else {
      holder.hold = { since: this.#clock.monotonic(), bytes };
      this.#holders.add(holder);
      if (!this.#timer) this.#arm(this.#limitMs);
    }
    holder.hold.bytes = bytes;
    this.#bytes += bytes;
    if (this.#bytes > this.#limitBytes) this.#makeRoom();
  }

  /** The holder holds nothing more. */
  delete(holder: Holder): void {
    if (!holder.hold) return;
    this.#bytes -= holder.hold.bytes;
    holder.hold = undefined;
    this.#holders.delete(holder);
  }

  /** From now on nothing is held for longer than this. */
  hasten(limitMs: number): void {
    this.#limitMs = Math.min(this.#limitMs, limitMs);
    if (this.#timer) this.#arm(0);
  }

  /** Leaves no timer. */
  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    // A process that was held up sees the time before what has long come: that is read first.
    this.#timer = this.#clock.schedule(delayMs, () => void setImmediate(this.#look));
  }

  /** Who lets go may hold its status instead: those that come to be held meanwhile are looked at last, and not from within. */
  #makeRoom(): void {
    if (this.#isMakingRoom) return;
    this.#isMakingRoom = true;
    try {
      for (const holder of this.#holders) {
        if (this.#bytes <= this.#limitBytes) return;
        // What holds nothing frees nothing.
        if (holder.hold?.bytes) this.#release(holder);
      }
    } finally {
      this.#isMakingRoom = false;
    }
  }

  /** One timer serves all, and not one each: nearly all hold nothing any more long before their time has passed. */
  readonly #look = (): void => {
    if (this.#isStopped) return;
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    let released = 0;
    for (const holder of this.#holders) {
      const leftMs = (holder.hold?.since ?? now) + this.#limitMs - now;
      if (leftMs > 0 || released === RELEASED_AT_ONCE) {
        this.#arm(Math.max(0, leftMs));
        return;
      }
      this.#release(holder);
      released++;
    }
  };

  #release(holder: Holder): void {
    this.delete(holder);
    holder.letGo();
  }
}
