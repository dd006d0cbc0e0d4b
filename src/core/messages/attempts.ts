import { withDeadline } from '../kernel/abortable.ts';
import { backoffMs } from '../kernel/backoff.ts';
import type { Clock, Random } from '../kernel/clock.ts';
import { LingpaiError, type UpstreamAnswer, UpstreamError } from '../kernel/errors.ts';
import type { TokenState } from '../tokens/state.ts';
import type { MessageEvent } from './events.ts';
import type { Turn } from './limits.ts';
import type { Message, Sent } from './message.ts';
import { freedError, ledgerError, permitMissingError, tokenRefusedError } from './message-errors.ts';
import { formIdOf, wishOf } from './permits.ts';
import type { DrawnPermit, Ledger, MessageApi, MessageSettings, Outcome, Settlement } from './ports.ts';
import {
  type AttemptContext,
  type AttemptResult,
  isRepeatable,
  nextStep,
  resultOf,
  type Step,
  type Tried,
} from './retry-policy.ts';

/** Where tokens come from: a Broker. */
export interface Tokens {
  /** A state with a usable token. Throws or rejects with LingpaiError, or with the signal's reason. */
  get(appId: string, options?: { readonly signal?: () => AbortSignal }): TokenState | Promise<TokenState>;
  /** Replaces a token that WeChat refused, once for all who report it. Rejects with LingpaiError. */
  forceRefresh(
    appId: string,
    rejected: { readonly kind: 'token'; readonly token: string },
  ): Promise<{ readonly state: TokenState }>;
}

/** What attempts need of the world. */
export interface AttemptDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly api: MessageApi;
  readonly ledger: Ledger;
  readonly tokens: Tokens;
  readonly observe: (event: MessageEvent) => void;
}

/** A message that the ledger has begun. */
export interface Begin {
  readonly message: Message;
  readonly sendId: string;
  readonly permit: DrawnPermit | null;
  /** It was begun by an earlier call, and may have been sent. */
  readonly resumed: boolean;
  /** How long ago it was begun, in milliseconds, by a clock that never runs backwards. */
  readonly ageMs: () => number;
  readonly turn: Turn;
  /** The token to begin with. */
  readonly state: TokenState;
}

/** How a message ended. */
export interface Ending {
  readonly outcome: Outcome | { readonly kind: 'freed'; readonly error: LingpaiError };
  readonly permit: Settlement['permit'];
}

/** What one attempt brought. */
interface Attempted {
  readonly attempt: AttemptResult;
  readonly sent?: Sent;
  readonly error?: unknown;
}

/** No caller ends an attempt: what is begun is seen through. */
const NEVER = new AbortController().signal;

/** The attempts to send one message: carries out what the retry policy says, until it says how to settle. */
export class Attempts {
  readonly #deps: AttemptDeps;
  readonly #settings: MessageSettings;
  readonly #begin: Begin;
  #permit: DrawnPermit | null;
  #state: TokenState | undefined;
  #maybeSent: boolean;
  #tried: Tried = { retry: 0, refresh: 0, redraw: 0, repeat: 0 };
  /** For how long WeChat refuses whatever is sent by this channel. */
  #refusedForMs: number | undefined;

  constructor(deps: AttemptDeps, settings: MessageSettings, begin: Begin) {
    this.#deps = deps;
    this.#settings = settings;
    this.#begin = begin;
    this.#permit = begin.permit;
    this.#state = begin.state;
    this.#maybeSent = begin.resumed;
  }

  /** Sends the message. Never rejects for what WeChat, the tokens or the ledger do. */
  async run(): Promise<Ending> {
    for (;;) {
      const attempted = await this.#attempt();
      const step = nextStep(attempted.attempt, this.#context());
      if (step.do === 'settle') return this.#ending(step, attempted);
      if (attempted.attempt.kind === 'unknown') this.#maybeSent = true;
      const ending = await this.#again(step.do, attempted);
      if (ending) return ending;
    }
  }

  #context(): AttemptContext {
    const { message, ageMs } = this.#begin;
    return {
      channel: message.channel.kind,
      permit: this.#permit,
      named: wishOf(message).kind === 'named',
      keyed: message.idempotencyKey !== '',
      maybeSent: this.#maybeSent,
      ageMs: ageMs() + this.#settings.timeoutMs,
      tried: this.#tried,
    };
  }

  async #attempt(): Promise<Attempted> {
    const { clock, tokens, api } = this.#deps;
    const { message, sendId, turn } = this.#begin;
    try {
      this.#state ??= await tokens.get(message.appId);
    } catch (error) {
      return { attempt: { kind: 'unsent' }, error };
    }
    // Waiting may have taken longer than a repeat is safe.
    if (this.#maybeSent && !isRepeatable(this.#context())) return { attempt: { kind: 'unknown' } };
    const refusal = turn.refusal();
    if (refusal) return { attempt: { kind: 'unsent' }, error: refusal };
    const token = this.#state.current?.value ?? '';
    const delivery = { message, formId: formIdOf(message, this.#permit), clientMsgId: sendId };
    const startedAt = clock.now();
    try {
      const call = (signal: AbortSignal) => api.send(delivery, token, signal);
      const sent = await withDeadline(clock, this.#settings.timeoutMs, NEVER, call);
      turn.learn(undefined, startedAt);
      return { attempt: { kind: 'sent' }, sent };
    } catch (error) {
      this.#refusedForMs = error instanceof UpstreamError ? turn.learn(error, startedAt) : undefined;
      return { attempt: resultOf(error), error };
    }
  }

  /** Prepares the next attempt; or ends the message, where it cannot be made. */
  async #again(step: Exclude<Step['do'], 'settle'>, attempted: Attempted): Promise<Ending | undefined> {
    const { clock, random, observe } = this.#deps;
    const { appId, channel } = this.#begin.message;
    const { error } = attempted;
    const reason = error instanceof UpstreamError || error instanceof LingpaiError ? error.reason : 'INTERNAL';
    observe({ type: 'message_retried', appId, channel: channel.kind, step, reason });
    this.#tried = { ...this.#tried, [step]: this.#tried[step] + 1 };
    if (step === 'refresh') return await this.#refresh(attempted);
    this.#state = undefined;
    if (step === 'redraw') return await this.#redraw();
    const delayMs = backoffMs(this.#tried.retry + this.#tried.repeat, random);
    await new Promise<void>((resolve) => clock.schedule(delayMs, resolve));
    return undefined;
  }

  async #refresh(attempted: Attempted): Promise<Ending | undefined> {
    const { tokens } = this.#deps;
    const { appId } = this.#begin.message;
    const refused = this.#state;
    let cause: unknown;
    try {
      const token = refused?.current?.value ?? '';
      const { state } = await tokens.forceRefresh(appId, { kind: 'token', token });
      this.#state = state;
      if (state.current && state.generation > (refused?.generation ?? 0)) return undefined;
    } catch (error) {
      cause = error;
    }
    const step = nextStep(attempted.attempt, this.#context());
    return step.do === 'settle' ? this.#ending(step, attempted, cause) : undefined;
  }

  async #redraw(): Promise<Ending | undefined> {
    const { clock, ledger, observe } = this.#deps;
    const { message, sendId } = this.#begin;
    const { appId } = message;
    try {
      this.#permit = await ledger.redraw(sendId, wishOf(message), clock.now());
    } catch (error) {
      observe({ type: 'ledger_failed', appId, operation: 'redraw', error, retryInMs: null });
      return { outcome: { kind: 'freed', error: ledgerError(appId, error) }, permit: 'void' };
    }
    if (this.#permit) return undefined;
    return { outcome: { kind: 'freed', error: permitMissingError(appId) }, permit: 'returned' };
  }

  #ending(step: Extract<Step, { do: 'settle' }>, { sent, error }: Attempted, cause?: unknown): Ending {
    const { permit } = step;
    const answer = error instanceof UpstreamError ? error.answer : undefined;
    switch (step.as) {
      case 'sent':
        return { outcome: { kind: 'sent', sent: sent ?? arrived(answer) }, permit };
      case 'arrived':
        return { outcome: { kind: 'sent', sent: arrived(answer) }, permit };
      case 'unknown':
        return { outcome: { kind: 'unknown' }, permit };
      case 'refused':
        return { outcome: { kind: 'refused', ...described(error), answer: answer ?? null }, permit };
      case 'freed':
        return { outcome: { kind: 'freed', error: this.#freed(error, cause) }, permit };
    }
  }

  #freed(error: unknown, cause: unknown): LingpaiError {
    const { appId } = this.#begin.message;
    if (error instanceof LingpaiError) return error;
    if (!(error instanceof UpstreamError)) throw error;
    if (error.reason === 'TOKEN_REFUSED') return tokenRefusedError(appId, error, cause);
    return freedError(appId, error, this.#refusedForMs);
  }
}

function arrived(answer: UpstreamAnswer | undefined): Sent {
  return { messageId: '', rid: answer?.rid ?? '' };
}

function described(error: unknown): Pick<UpstreamError, 'reason' | 'message'> {
  if (!(error instanceof UpstreamError)) throw error;
  return { reason: error.reason, message: error.message };
}
