import type { Clock } from '../kernel/clock.ts';
import { LingpaiError } from '../kernel/errors.ts';
import { msUntilReset, quotaDay } from '../kernel/quota-day.ts';
import type { TokenState } from '../tokens/state.ts';
import { type AttemptDeps, Attempts, type Ending } from './attempts.ts';
import type { Limits, Turn } from './limits.ts';
import { ledgerKey, type Message, type Sent } from './message.ts';
import {
  keyReusedError,
  ledgerError,
  overQuotaError,
  permitMissingError,
  permitTakenError,
  refusedError,
  unknownError,
} from './message-errors.ts';
import { wishOf } from './permits.ts';
import type { Begun, KnownKey, MessageSettings, NewSend, Outcome } from './ports.ts';
import { isRepeatable } from './retry-policy.ts';
import type { SettlementWriter } from './settlement-writer.ts';

/** What sending one message needs. */
export interface SendOperationDeps extends AttemptDeps {
  readonly settings: MessageSettings;
  readonly settlementWriter: SettlementWriter;
  readonly newId: () => string;
  /** The limits of a configured app. */
  readonly limits: (appId: string) => Limits;
  /** The replica that this is; empty where one process owns the store. */
  readonly owner: string;
  /** Whether this is the name of another replica, which lives. */
  readonly isOther: (owner: string) => boolean;
  /** Wall-clock time that never runs backwards. */
  readonly latestNow: () => number;
}

/** A message that was sent. */
export interface SendResult {
  readonly sent: Sent;
  /** By an earlier call with the same key. */
  readonly replayed: boolean;
}

/** What a call learns. `over` resolves when it is durable, or cannot become so. */
export interface Done {
  readonly result: SendResult | LingpaiError;
  readonly over: Promise<void>;
}

type Unsettled = Extract<KnownKey, { kind: 'unsettled' }>;

/** How long a key is kept. */
export const KEY_MS = 24 * 3_600_000;
/** How many settlements may be open at most: after a crash all of them are of unknown fate. */
const MAX_UNSETTLED = 1_000;
/** When a caller may ask again what became of a message. */
const ASK_AGAIN_MS = 5_000;

/** How often a message that another replica is sending is looked up, and how many times. */
const ELSEWHERE_POLL_MS = 250;
const ELSEWHERE_POLLS = 240;

const OVER = Promise.resolve();

/** One message: waits for its turn, is recorded, sent, settled and answered. */
export class SendOperation {
  readonly #deps: SendOperationDeps;
  readonly #message: Message;
  readonly #digest: string;
  readonly #signal: AbortSignal;
  readonly #startedAt: number;
  #begun = false;

  /** `signal` ends it as long as it is not begun. `digest` is empty for a message without a key. */
  constructor(deps: SendOperationDeps, message: Message, digest: string, signal: AbortSignal) {
    this.#deps = deps;
    this.#message = message;
    this.#digest = digest;
    this.#signal = signal;
    this.#startedAt = deps.clock.monotonic();
  }

  /** Whether it is begun: then nothing ends it. */
  get begun(): boolean {
    return this.#begun;
  }

  /** Resolves with what the callers are told. Rejects with the signal's reason, and where the broker is at fault. */
  async run(): Promise<Done> {
    try {
      return await this.#run();
    } catch (error) {
      if (!(error instanceof LingpaiError)) throw error;
      // Callers can invent any number of app ids: none becomes a metric's label.
      if (error.reason !== 'APP_NOT_FOUND') this.#observeRefusal(error, false);
      return { result: error, over: OVER };
    }
  }

  async #run(): Promise<Done> {
    const { appId, channel } = this.#message;
    const { tokens, limits } = this.#deps;
    const options = { signal: () => this.#signal };
    let turn: Turn | undefined;
    try {
      // An app that is not configured has no limits, and without a token there is nothing to wait for.
      await tokens.get(appId, options);
      turn = await limits(appId).enter(channel.kind, this.#signal, this.#message.caller);
      return await this.#begin(turn, await tokens.get(appId, options));
    } catch (error) {
      if (!this.#begun) turn?.giveBack();
      const known = this.#begun ? undefined : await this.#known(error);
      if (known) return known;
      throw error;
    } finally {
      turn?.[Symbol.dispose]();
    }
  }

  async #begin(turn: Turn, state: TokenState): Promise<Done> {
    const { ledger, clock, settings, settlementWriter, latestNow } = this.#deps;
    const { appId } = this.#message;
    if (settlementWriter.pending > MAX_UNSETTLED)
      throw ledgerError(appId, new Error('too many settlements are not durable'));
    this.#signal.throwIfAborted();
    this.#begun = true;
    const send = this.#newSend();
    const startedAt = latestNow();
    let begun: Begun;
    try {
      begun = await ledger.begin(send);
      for (let polls = 0; polls < ELSEWHERE_POLLS && this.#isElsewhere(begun); polls++) {
        await pause(clock, ELSEWHERE_POLL_MS);
        // The other replica may have freed the key.
        begun = (await ledger.lookup(send)) ?? (await ledger.begin(send));
      }
    } catch (error) {
      turn.giveBack();
      this.#deps.observe({ type: 'ledger_failed', appId, operation: 'begin', error, retryInMs: null });
      throw ledgerError(appId, error);
    }
    if (begun.kind === 'begun') {
      const ageMs = () => latestNow() - startedAt;
      return await this.#deliver({ turn, state, ageMs, resumed: false, sendId: send.sendId, permit: begun.permit });
    }
    if (this.#isElsewhere(begun)) {
      turn.giveBack();
      return this.#replay({ kind: 'unknown' }, ASK_AGAIN_MS);
    }
    if (begun.kind === 'unsettled' && this.#isRepeatable(begun)) {
      const { sendId, permit, startTime } = begun;
      return await this.#deliver({ turn, state, ageMs: () => latestNow() - startTime, resumed: true, sendId, permit });
    }
    turn.giveBack();
    switch (begun.kind) {
      case 'settled':
        return this.#replay(begun.outcome);
      case 'unsettled':
        return await this.#lost(begun);
      case 'key_reused':
        throw keyReusedError(appId);
      case 'over_quota':
        throw overQuotaError(appId, settings.dailyQuota, msUntilReset(clock.now(), settings.quotaResetHour));
      case 'no_permit':
        throw send.permit.kind === 'named' ? permitTakenError(appId) : permitMissingError(appId);
    }
  }

  async #deliver(begin: Omit<ConstructorParameters<typeof Attempts>[2], 'message'>): Promise<Done> {
    const { settings, settlementWriter, clock } = this.#deps;
    const message = this.#message;
    const { outcome, permit } = await new Attempts(this.#deps, settings, { message, ...begin }).run();
    const settled = outcome.kind === 'freed' ? { kind: outcome.kind } : outcome;
    const settlement = { outcome: settled, permit, now: clock.now() };
    const { tried, over } = settlementWriter.settle(message.appId, begin.sendId, settlement);
    await tried;
    return { result: this.#answer({ outcome, permit }), over };
  }

  #answer({ outcome, permit }: Ending): SendResult | LingpaiError {
    const { observe, clock } = this.#deps;
    const { appId, channel } = this.#message;
    const about = { appId, channel: channel.kind, durationMs: clock.monotonic() - this.#startedAt };
    switch (outcome.kind) {
      case 'sent':
        observe({ type: 'message_sent', ...about, arrived: outcome.sent.messageId === '' });
        return { sent: outcome.sent, replayed: false };
      case 'unknown':
        observe({ type: 'message_unknown', ...about });
        return unknownError(appId, permit === 'held' ? ASK_AGAIN_MS : undefined);
      case 'refused':
      case 'freed': {
        const error = outcome.kind === 'freed' ? outcome.error : refusedError(this.#message, outcome);
        this.#observeRefusal(error, outcome.kind === 'refused');
        return error;
      }
    }
  }

  /** The answer that the ledger has for the message's key, where `error` keeps it from being sent now. */
  async #known(error: unknown): Promise<Done | undefined> {
    const { ledger, clock, observe } = this.#deps;
    const { appId, idempotencyKey } = this.#message;
    if (!(error instanceof LingpaiError) || error.reason === 'APP_NOT_FOUND') return undefined;
    if (idempotencyKey === '' || this.#signal.aborted) return undefined;
    const query = { appId, key: ledgerKey(this.#message), digest: this.#digest, now: clock.now() };
    let known: KnownKey | undefined;
    try {
      known = await ledger.lookup(query);
    } catch (cause) {
      observe({ type: 'ledger_failed', appId, operation: 'lookup', error: cause, retryInMs: null });
      throw ledgerError(appId, cause);
    }
    if (!known) return undefined;
    if (known.kind === 'key_reused') throw keyReusedError(appId);
    if (known.kind === 'settled') return this.#replay(known.outcome);
    const isOpen = this.#isElsewhere(known) || this.#isRepeatable(known);
    const retryAfterMs = isOpen ? (error.retryAfterMs ?? ASK_AGAIN_MS) : undefined;
    return this.#replay({ kind: 'unknown' }, retryAfterMs);
  }

  #newSend(): NewSend {
    const { clock, newId, owner, settings } = this.#deps;
    const { appId, channel } = this.#message;
    const now = clock.now();
    return {
      sendId: newId(),
      owner,
      appId,
      channel: channel.kind,
      key: ledgerKey(this.#message),
      digest: this.#digest,
      now,
      keyExpireTime: now + KEY_MS,
      quota: { day: quotaDay(now, settings.quotaResetHour), limit: settings.dailyQuota },
      permit: wishOf(this.#message),
    };
  }

  /** Whether another replica is sending it: that replica alone may send and settle it. */
  #isElsewhere(begun: Begun): boolean {
    return begun.kind === 'unsettled' && this.#deps.isOther(begun.owner);
  }

  #isRepeatable({ permit, startTime }: Unsettled): boolean {
    const { settings, latestNow } = this.#deps;
    const ageMs = latestNow() - startTime;
    return (
      ageMs >= 0 && isRepeatable({ channel: this.#message.channel.kind, permit, ageMs: ageMs + settings.timeoutMs })
    );
  }

  /** Nobody will ever know: the permit that was held for another attempt is returned. */
  async #lost({ sendId, permit }: Unsettled): Promise<Done> {
    const { settlementWriter, clock } = this.#deps;
    if (!permit) return this.#replay({ kind: 'unknown' });
    const settlement = { outcome: { kind: 'unknown' }, permit: 'returned', now: clock.now() } as const;
    const { tried, over } = settlementWriter.settle(this.#message.appId, sendId, settlement);
    await tried;
    return { ...this.#replay({ kind: 'unknown' }), over };
  }

  #replay(outcome: Outcome, retryAfterMs?: number): Done {
    const { appId, channel } = this.#message;
    this.#deps.observe({ type: 'message_replayed', appId, channel: channel.kind, outcome: outcome.kind });
    switch (outcome.kind) {
      case 'sent':
        return { result: { sent: outcome.sent, replayed: true }, over: OVER };
      case 'refused':
        return { result: refusedError(this.#message, outcome), over: OVER };
      case 'unknown':
        return { result: unknownError(appId, retryAfterMs, 'an earlier call'), over: OVER };
    }
  }

  #observeRefusal(error: LingpaiError, kept: boolean): void {
    const { observe, clock } = this.#deps;
    const { appId, channel } = this.#message;
    const durationMs = clock.monotonic() - this.#startedAt;
    const { reason, answer } = error;
    const errcode = answer?.errcode ?? null;
    observe({ type: 'message_refused', appId, channel: channel.kind, reason, errcode, kept, durationMs });
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.schedule(ms, resolve));
}
