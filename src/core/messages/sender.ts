import { abortable } from '../kernel/abortable.ts';
import { drainingError, LingpaiError } from '../kernel/errors.ts';
import type { AttemptDeps } from './attempts.ts';
import { canonicalText } from './digest.ts';
import { Limits, type ShutChannel } from './limits.ts';
import { ledgerKey, type Message, sizeOf } from './message.ts';
import { keyReusedError, noRoomError } from './message-errors.ts';
import type { MessageSettings } from './ports.ts';
import { KEY_MS, SendOperation, type SendOperationDeps, type SendResult } from './send-operation.ts';
import { SettlementWriter } from './settlement-writer.ts';

export type { Tokens } from './attempts.ts';
export type { ShutChannel } from './limits.ts';
export type { SendResult } from './send-operation.ts';

/** What a Sender needs of the world. */
export interface SenderDeps extends AttemptDeps, Pick<SendOperationDeps, 'owner' | 'isOther'> {
  /** A short text that differs where texts differ. */
  readonly digest: (text: string) => string;
  /** A name that no other message has or had: it becomes a client_msg_id. */
  readonly newId: () => string;
}

/** So many characters may all messages have that wait or are on their way: about 64 MiB. */
export const MAX_HELD = 32 * 1024 * 1024;

/** One message on its way, shared by all who call with its key. */
interface Call {
  readonly digest: string;
  readonly startedAt: number;
  readonly operation: SendOperation;
  /** Ends it for all, as long as it is not begun. */
  readonly leave: AbortController;
  readonly result: Promise<SendResult | LingpaiError>;
  callers: number;
}

/** How often callers may have the closed channels of an app tried. */
const TRY_AGAIN_EVERY_MS = 10_000;

/** Sends messages: each recorded before it leaves, within its app's limits, and never by accident twice. */
export class Sender {
  readonly #deps: SenderDeps;
  readonly #operationDeps: SendOperationDeps;
  readonly #settlementWriter: SettlementWriter;
  readonly #limits = new Map<string, Limits>();
  /** By app and key, until what became of them is durable. */
  readonly #keyed = new Map<string, Call>();
  readonly #calls = new Set<Call>();
  /** The farthest that the wall clock has been ahead of monotonic time. */
  #ahead = Number.NEGATIVE_INFINITY;
  /** The size of all messages that are held, in characters. */
  #held = 0;
  #draining = false;

  /** The ledger must have recovered from the process before when the first message is sent. */
  constructor(deps: SenderDeps, settings: MessageSettings) {
    const { clock, observe } = deps;
    this.#deps = deps;
    this.#settlementWriter = new SettlementWriter(deps);
    this.#operationDeps = {
      ...deps,
      settings,
      settlementWriter: this.#settlementWriter,
      limits: (appId) => {
        const limits = this.#limits.get(appId) ?? new Limits({ clock, appId, settings, observe });
        this.#limits.set(appId, limits);
        return limits;
      },
      latestNow: () => {
        this.#ahead = Math.max(this.#ahead, clock.now() - clock.monotonic());
        return clock.monotonic() + this.#ahead;
      },
    };
  }

  /**
   * Sends one message; resolves when WeChat took it and that is durable, or its first record has failed and is repeated.
   * Rejects with LingpaiError: DELIVERY_UNKNOWN when it may have been sent; else this call has not sent it, and of an
   * earlier call with the same key only LEDGER_UNAVAILABLE, DRAINING, APP_NOT_FOUND and SEND_LIMIT_EXCEEDED say nothing. When `signal` aborts
   * the caller leaves, with the signal's reason: what is begun goes on; what is not, and nobody else waits for, is not sent.
   */
  async send(message: Message, signal: AbortSignal): Promise<SendResult> {
    signal.throwIfAborted();
    if (this.#draining) throw drainingError();
    const { appId, idempotencyKey } = message;
    if (this.#held > 0 && this.#held + sizeOf(message) > MAX_HELD)
      throw noRoomError(appId, `messages of ${MAX_HELD} characters`, 0);
    if (idempotencyKey === '') return await this.#wait(this.#start(message, '', undefined), signal);
    const digest = this.#deps.digest(canonicalText(message));
    const name = JSON.stringify([appId, ledgerKey(message)]);
    const shared = this.#keyed.get(name);
    if (!shared || shared.startedAt + KEY_MS <= this.#deps.clock.monotonic())
      return await this.#wait(this.#start(message, digest, name), signal);
    if (shared.digest !== digest) throw keyReusedError(appId);
    return { ...(await this.#whileHeld(message, this.#wait(shared, signal))), replayed: true };
  }

  /**
   * Begins nothing more: messages that are not begun fail with DRAINING. Resolves when those under way have ended and are
   * settled, or could not be, once more: whoever recovers the ledger finds those to be of unknown fate.
   */
  async drain(): Promise<void> {
    this.#draining = true;
    const calls = [...this.#calls];
    for (const { operation, leave } of calls) if (!operation.begun) leave.abort(drainingError());
    await Promise.allSettled(calls.map((call) => call.result));
    await this.#settlementWriter.stop();
  }

  /**
   * Has the next message of each channel whose circuit breaker is open probe: a quota may have been cleared. `appId` undefined: of
   * every app. For one app it does so at most every 10 s: a caller that asks again and again is not to open what WeChat has shut.
   */
  tryAgain(appId?: string): void {
    if (appId !== undefined) this.#limits.get(appId)?.tryAgain(TRY_AGAIN_EVERY_MS);
    else for (const limits of this.#limits.values()) limits.tryAgain();
  }

  /** The channels of an app whose circuit breaker refuses messages. */
  shutChannels(appId: string): readonly ShutChannel[] {
    return this.#limits.get(appId)?.shutChannels() ?? [];
  }

  /** Whether a message is under way, of which nobody else may say what became. */
  get busy(): boolean {
    return this.#calls.size > 0;
  }

  async #wait(call: Call, signal: AbortSignal): Promise<SendResult> {
    call.callers++;
    try {
      const result = await abortable(call.result, signal);
      if (result instanceof LingpaiError) throw result;
      return result;
    } finally {
      call.callers--;
      if (call.callers === 0 && !call.operation.begun) call.leave.abort(signal.reason);
    }
  }

  async #whileHeld<T>(message: Message, end: Promise<T>): Promise<T> {
    const size = sizeOf(message);
    this.#held += size;
    try {
      return await end;
    } finally {
      this.#held -= size;
    }
  }

  #start(message: Message, digest: string, name: string | undefined): Call {
    const leave = new AbortController();
    const operation = new SendOperation(this.#operationDeps, message, digest, leave.signal);
    const done = operation.run();
    const startedAt = this.#deps.clock.monotonic();
    const call: Call = { digest, startedAt, operation, leave, callers: 0, result: done.then(({ result }) => result) };
    this.#calls.add(call);
    this.#whileHeld(message, call.result)
      .catch(() => undefined)
      .finally(() => this.#calls.delete(call));
    if (name === undefined) return call;
    const forget = () => {
      if (this.#keyed.get(name) === call) this.#keyed.delete(name);
    };
    this.#keyed.set(name, call);
    // Whoever comes after the last caller has left begins anew.
    leave.signal.addEventListener('abort', forget, { once: true });
    done.then(({ over }) => over).then(forget, forget);
    return call;
  }
}
