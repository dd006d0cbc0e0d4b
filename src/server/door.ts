import { LOCAL, type Principal } from '../core/access/principal.ts';
import type { Clock, Timer } from '../core/kernel/clock.ts';
import { LingpaiError } from '../core/kernel/errors.ts';
import type { Authenticate, Head } from '../transport/head.ts';

/** Everyone is `local`. */
export const asLocal: Authenticate = () => LOCAL;

/** Who came to a door: what answers at the path that was asked for, and who is to be answered, or why nobody is. */
export type Entered<Answer> =
  | { readonly answer: Answer; readonly principal: Principal }
  | { readonly answer: Answer; readonly refusal: unknown };

/** What a door answers at a path; `isOpen`: to anyone, without asking who it is. */
export type Listed<Answer> = readonly [path: string, answer: Answer, isOpen?: boolean | undefined];

/** What a door needs. */
export interface DoorOptions {
  /** Default: everyone is `local`. */
  readonly authenticate?: Authenticate | undefined;
  readonly clock: Clock;
}

/** How many calls may wait at one door until it is known who makes them. HTTP/2 may hold 64 KiB of each. */
export const MAX_ARRIVALS = 512;
/** After this long it is not known. */
export const ARRIVAL_TIMEOUT_MS = 10_000;
/** When it is worth coming again. */
const COME_AGAIN_MS = 1_000;

/** The paths of one listener. Every call enters here, once its head is read and before its body is. */
export class Door<Answer> {
  readonly #answers = new Map<string, { readonly answer: Answer; readonly isOpen: boolean }>();
  readonly #authenticate: Authenticate;
  readonly #clock: Clock;
  #arrivals = 0;

  /** Throws a TypeError when a path is listed twice. */
  constructor(listed: Iterable<Listed<Answer>>, { authenticate = asLocal, clock }: DoorOptions) {
    for (const [path, answer, isOpen = false] of listed) {
      if (this.#answers.has(path)) throw new TypeError(`${path} is listed twice`);
      this.#answers.set(path, { answer, isOpen });
    }
    this.#authenticate = authenticate;
    this.#clock = clock;
  }

  /** Every path that is answered. */
  get paths(): readonly string[] {
    return [...this.#answers.keys()];
  }

  /** How many calls wait until it is known who makes them. */
  get arrivals(): number {
    return this.#arrivals;
  }

  /** An Arrival where it takes time to know who comes. Undefined: the path is not listed, and nothing starts. */
  enter(head: Head): Entered<Answer> | Arrival<Answer> | undefined {
    const listed = this.#answers.get(head.path);
    if (listed === undefined) return undefined;
    const { answer, isOpen } = listed;
    if (isOpen) return { answer, principal: LOCAL };
    try {
      const principal = this.#authenticate(head);
      return principal instanceof Promise ? this.#arrive(answer, principal) : { answer, principal };
    } catch (refusal) {
      return { answer, refusal };
    }
  }

  #arrive(answer: Answer, principal: Promise<Principal>): Entered<Answer> | Arrival<Answer> {
    if (this.#arrivals >= MAX_ARRIVALS) {
      // Nobody waits for it any more.
      principal.catch(() => {});
      return { answer, refusal: tooMany() };
    }
    this.#arrivals++;
    return new Arrival(answer, principal, { clock: this.#clock, onOver: () => this.#arrivals-- });
  }
}

/** A call of which it is not known yet who makes it. It is over when that is known, takes too long, or the caller leaves. */
export class Arrival<Answer> {
  readonly answer: Answer;
  readonly #onOver: () => void;
  readonly #timer: Timer;
  #isOver = false;
  #come: ((entered: Entered<Answer>) => void) | undefined;

  constructor(answer: Answer, principal: Promise<Principal>, options: { clock: Clock; onOver: () => void }) {
    this.answer = answer;
    this.#onOver = options.onOver;
    this.#timer = options.clock.schedule(ARRIVAL_TIMEOUT_MS, () => this.#end({ answer, refusal: tooLate() }));
    principal.then(
      (known) => this.#end({ answer, principal: known }),
      (refusal: unknown) => this.#end({ answer, refusal }),
    );
  }

  /** Has `come` called once it is known who came, and never after `leave`. It must not throw. */
  onKnown(come: (entered: Entered<Answer>) => void): void {
    this.#come = come;
  }

  /** The caller has left, or waits no longer. */
  leave(): void {
    this.#end(undefined);
  }

  #end(entered: Entered<Answer> | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer.cancel();
    this.#onOver();
    const come = this.#come;
    this.#come = undefined;
    if (entered) come?.(entered);
  }
}

function tooMany(): LingpaiError {
  const message = `${MAX_ARRIVALS} calls wait until it is known who makes them: try again later`;
  return new LingpaiError(message, { reason: 'TOO_MANY_WAITING', retryAfterMs: COME_AGAIN_MS });
}

function tooLate(): LingpaiError {
  const message = 'it could not be found out in time who makes the call: try again';
  return new LingpaiError(message, { reason: 'TOO_MANY_WAITING', retryAfterMs: COME_AGAIN_MS });
}
