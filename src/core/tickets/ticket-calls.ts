import { withDeadline } from '../kernel/abortable.ts';
import { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { CurrentToken } from '../tokens/app-record.ts';
import { budgetNow, scheduledWaitMs, spend } from '../tokens/budget.ts';
import type { TicketDeps, TicketKey } from './ports.ts';
import { type TicketRecord, ticketDueAt } from './ticket-record.ts';

/** The record that calls are counted in. */
export interface CountedRecord {
  read(): TicketRecord;
  take(record: TicketRecord): void;
}

/** A token to fetch a ticket with. */
interface Means {
  readonly value: string;
  readonly id: string;
}

/** The calls that fetch one ticket: each within the day's budget and under a deadline of its own. */
export class TicketCalls {
  readonly #deps: TicketDeps;
  readonly #key: TicketKey;
  readonly #record: CountedRecord;
  #isAsking = false;

  constructor(deps: TicketDeps, key: TicketKey, record: CountedRecord) {
    this.#deps = deps;
    this.#key = key;
    this.#record = record;
  }

  /** Whether WeChat is being asked: what it answers is not to be lost. */
  get isAsking(): boolean {
    return this.#isAsking;
  }

  /** Waits until there is a token. Rejects with LingpaiError, or with the signal's reason. */
  async token(signal: AbortSignal): Promise<Means> {
    const { current } = await this.#deps.tokens.get(this.#key.appId, { signal: () => signal });
    return meansOf(current);
  }

  /**
   * A ticket of WeChat's. Where it refuses the token, the token is reported, and the call repeated once with a newer one. Rejects with
   * UpstreamError, with LingpaiError, or with the signal's reason.
   */
  async bring(signal: AbortSignal): Promise<CurrentToken> {
    const { tokens, observe } = this.#deps;
    const { appId, type: ticketType } = this.#key;
    const { value: token, id: tokenId } = await this.token(signal);
    try {
      return await this.#ask(token, signal);
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.reason !== 'TOKEN_REFUSED') throw error;
      observe({ type: 'ticket_token_refused', appId, ticketType, tokenId });
      const { state } = await tokens.forceRefresh(appId, { kind: 'token', token, witness: 'broker' }, signal);
      const newer = meansOf(state.current);
      // WeChat accepts it after all: it has said no to this call, and is not asked at once again.
      if (newer.value === token) throw error;
      return await this.#ask(newer.value, signal);
    }
  }

  async #ask(token: string, signal: AbortSignal): Promise<CurrentToken> {
    const { clock, timeline, settings, wechat, random } = this.#deps;
    const sentAt = timeline.elapsed();
    const record = this.#record.read();
    const before = budgetNow(record.budget, clock.now(), settings);
    const waitMs = scheduledWaitMs(before, sentAt - record.lastCallAt, clock.now(), settings);
    if (waitMs > 0) throw budgetError(waitMs);
    this.#record.take({ ...record, budget: spend(before, 'mints', 1), lastCallAt: sentAt });
    this.#isAsking = true;
    try {
      const ask = (limited: AbortSignal) => wechat.fetchTicket(this.#key.type, token, limited);
      const { value, id, lifetimeMs } = await withDeadline(clock, settings.timeoutMs, signal, ask);
      // From before the request left: WeChat may have counted from then.
      const life = { issuedAt: sentAt, expiresAt: sentAt + lifetimeMs };
      if (life.expiresAt <= timeline.elapsed()) throw overError();
      return { value, id, ...life, answeredAt: clock.monotonic(), dueAt: ticketDueAt(life, settings, random()) };
    } catch (error) {
      const isUnsent = error instanceof UpstreamError && error.effect === 'unsent';
      const { budget, ...rest } = this.#record.read();
      if (isUnsent) this.#record.take({ ...rest, budget: spend(budget, 'mints', -1) });
      throw error;
    } finally {
      this.#isAsking = false;
    }
  }
}

function meansOf(current: Means | null): Means {
  if (current) return current;
  throw new LingpaiError('there is no token to fetch a ticket with', { reason: 'INTERNAL' });
}

function budgetError(retryAfterMs: number): LingpaiError {
  return new LingpaiError(
    "what is left of refresh.daily_budget for this ticket is spread over the rest of WeChat's day: something has it fetched far too often",
    { reason: 'BUDGET_EXHAUSTED', retryAfterMs },
  );
}

function overError(): UpstreamError {
  return new UpstreamError('WeChat answered with a ticket whose life was over when it came', {
    reason: 'UPSTREAM_ERROR',
    recovery: { kind: 'backoff' },
    effect: 'unknown',
  });
}
