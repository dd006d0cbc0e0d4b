import { abortable } from '../kernel/abortable.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { CLOCKS_AGREE_MS, type Timer } from '../kernel/clock.ts';
import { callersError, LingpaiError, UpstreamError } from '../kernel/errors.ts';
import { toToken } from '../tokens/app-record.ts';
import { nextAttemptAt } from '../tokens/backoff.ts';
import { joinBudgets } from '../tokens/budget.ts';
import type { Trouble } from '../tokens/ports.ts';
import { RecordWriter } from '../tokens/record-writer.ts';
import type { Token } from '../tokens/state.ts';
import { toldOf } from '../tokens/token-health.ts';
import type { Health } from '../tokens/view.ts';
import type { StoredTicket, TicketDeps, TicketKey } from './ports.ts';
import { TicketCalls } from './ticket-calls.ts';
import { NO_TICKET, reviveTicket, type TicketRecord, ticketDueAt, toStoredTicket } from './ticket-record.ts';
import { TicketShare } from './ticket-share.ts';

/** How long before its end a ticket is replaced though the store does not say whether another replica does so. */
const PRESSING_MS = 10 * 60_000;

/**
 * Keeps one ticket of one app, once somebody has asked for it: one flight at a time, which callers share, and a timer for its
 * successor. The old one is served until the new one is in hand, or its life is over.
 */
export class TicketKeeper {
  readonly key: TicketKey;
  readonly #deps: TicketDeps;
  readonly #calls: TicketCalls;
  readonly #share: TicketShare;
  readonly #writer: RecordWriter<StoredTicket>;
  readonly #save: (record: StoredTicket) => Promise<void>;
  #record: TicketRecord = NO_TICKET;
  #health: Health = { kind: 'well' };
  /** What others were told of the last failure. */
  #trouble: Trouble | null = null;
  /** Troubles that are older than this are over: by the wall clock. */
  #heedsSince: number;
  /** Somebody has asked for it, and the app was configured when it was last due. */
  #isWanted = false;
  #flight: { readonly completion: Promise<void>; readonly controller: AbortController } | undefined;
  /** The wall time of the timeline's beginning: it falls where the clock was set back. */
  #origin: number;
  #timer: Timer | undefined;
  #closed: LingpaiError | undefined;

  /** `stored`: what the store had of it at the start. */
  constructor(deps: TicketDeps, key: TicketKey, stored?: StoredTicket) {
    const { clock, random, timeline, observe } = deps;
    this.key = key;
    this.#deps = deps;
    this.#calls = new TicketCalls(deps, key, {
      read: () => this.#record,
      take: (record) => {
        this.#record = record;
      },
    });
    this.#heedsSince = clock.now();
    this.#origin = timeline.wallOf(0);
    this.#share = new TicketShare(deps, key);
    this.#writer = new RecordWriter<StoredTicket>({ clock, random, store: this.#share, observe }, key.appId);
    this.#save = this.#writer.adopt(() => undefined);
    if (stored) this.#take(stored);
    this.#isWanted = this.#record.ticket !== null;
  }

  /** The ticket, where there is one whose life is not over. */
  peek(): Token | undefined {
    const { ticket } = this.#record;
    return ticket && ticket.expiresAt > this.#now() ? toToken(ticket, this.#deps.timeline) : undefined;
  }

  /** Waits for a ticket. Fails with LingpaiError, or with the signal's reason. */
  async obtain(signal: AbortSignal): Promise<Token> {
    for (;;) {
      const ticket = this.peek();
      if (ticket) return ticket;
      if (this.#closed) throw this.#closed;
      this.#isWanted = true;
      this.tick();
      if (!this.#flight) throw this.#failure();
      await abortable(this.#flight.completion, signal);
    }
  }

  /** Does what is due. Harmless at any time; to be called when a timer may have been lost. */
  tick(): void {
    if (this.#closed) return;
    this.#keepTime();
    this.#timer?.cancel();
    if (this.#flight) return;
    const now = this.#now();
    const at = this.#nextAt();
    if (now >= at) this.#start();
    else if (at < Infinity) this.#timer = this.#deps.clock.schedule(at - now, () => this.tick());
  }

  /** The cause of failures may be gone: what failed is tried at once. */
  tryAgain(): void {
    this.#heedsSince = this.#deps.clock.now();
    if (this.#health.kind === 'failing') this.#health = { ...this.#health, failures: 0, retryAt: this.#now() };
    this.tick();
  }

  /**
   * Begins nothing more, and fails those who wait with `reason`. A call that WeChat was asked is awaited, and what it brought is
   * stored.
   */
  async close(reason: LingpaiError): Promise<void> {
    this.#closed ??= reason;
    this.#timer?.cancel();
    if (!this.#calls.isAsking) this.#flight?.controller.abort(reason);
    await this.#flight?.completion.catch(() => undefined);
    await this.#writer.stop();
  }

  #nextAt(): number {
    if (!this.#isWanted) return Number.POSITIVE_INFINITY;
    if (this.#health.kind === 'failing') return this.#health.retryAt;
    return this.#record.ticket?.dueAt ?? Number.NEGATIVE_INFINITY;
  }

  /** A clock that was set back: what is stored lies too far ahead. */
  #keepTime(): void {
    const origin = this.#deps.timeline.wallOf(0);
    const isBehind = origin < this.#origin;
    this.#origin = origin;
    if (isBehind && this.#record.ticket) void this.#write();
  }

  #start(): void {
    const controller = new AbortController();
    const completion = this.#run(controller.signal);
    completion.catch(() => undefined); // it may be that nobody joined
    this.#flight = { completion, controller };
  }

  async #run(signal: AbortSignal): Promise<void> {
    await undefined; // so that `#flight` is set before the end below clears it
    const startedAt = this.#now();
    try {
      await this.#refresh(signal);
    } catch (error) {
      throw signal.aborted ? signal.reason : this.#failed(error, startedAt);
    } finally {
      this.#flight = undefined;
      this.tick();
    }
  }

  async #refresh(signal: AbortSignal): Promise<void> {
    const { observe } = this.#deps;
    // Before anything is claimed: others are not to wait while this replica waits for a token.
    await this.#calls.token(signal);
    const adopt = (stored: StoredTicket) => this.#adopt(stored);
    if (!(await this.#share.claim(signal, adopt, () => this.#isPressing()))) return;
    try {
      const ticket = await this.#calls.bring(signal);
      this.#record = { ...this.#record, ticket };
      this.#landed();
      observe({
        type: 'ticket_rotated',
        ...this.#named(),
        ticketId: ticket.id,
        durationMs: this.#now() - ticket.issuedAt,
      });
      // It is served from now on, whether or not the store takes it. The claim is kept until it has: there others find it.
      await this.#write();
    } finally {
      await this.#share.release();
    }
  }

  #isPressing(): boolean {
    const { ticket } = this.#record;
    return !ticket || ticket.expiresAt - this.#now() <= PRESSING_MS;
  }

  /** Whether another replica's ticket was taken into use that is not due. Throws what another replica was refused a moment ago. */
  #adopt(stored: StoredTicket): boolean {
    const now = this.#now();
    const wasNew = this.#take(stored);
    const { ticket } = this.#record;
    if (wasNew && ticket) {
      this.#deps.observe({ type: 'ticket_adopted', ...this.#named(), ticketId: ticket.id });
      if (ticket.dueAt > now) {
        this.#landed();
        return true;
      }
    }
    const { clock, timeline } = this.#deps;
    const { trouble } = stored;
    if (!trouble || trouble.time < this.#heedsSince) return false;
    const told = toldOf(trouble, timeline, clock.now());
    const retryAfterMs = told.retryAt - now;
    if (retryAfterMs <= CLOCKS_AGREE_MS) return false;
    const { reason, message, answer } = told.error;
    const error = new LingpaiError(message, { reason, answer, retryAfterMs });
    // It is the same failure, and not one more.
    this.#health = { ...told, failures: Math.max(this.#failures, told.failures) - 1 };
    throw error;
  }

  /** Takes what is stored into use where it ends later. Returns whether it does. */
  #take(stored: StoredTicket): boolean {
    const { timeline, settings, random } = this.#deps;
    const { ticket: held, budget, lastCallAt } = this.#record;
    const due = (life: { issuedAt: number; expiresAt: number }) => ticketDueAt(life, settings, random());
    const moment = timeline.moment();
    const found = reviveTicket(stored.ticket, moment, timeline, due);
    const isNew = found !== null && found.expiresAt > (held?.expiresAt ?? Number.NEGATIVE_INFINITY) + CLOCKS_AGREE_MS;
    const calledAt =
      stored.lastCallTime === 0
        ? Number.NEGATIVE_INFINITY
        : Math.min(moment.elapsed, timeline.momentOf(stored.lastCallTime));
    this.#record = {
      ticket: isNew ? found : held,
      budget: joinBudgets(budget, stored.budget),
      lastCallAt: Math.max(lastCallAt, calledAt),
    };
    return isNew;
  }

  #landed(): void {
    this.#health = { kind: 'well' };
    this.#trouble = null;
  }

  get #failures(): number {
    return this.#health.kind === 'failing' ? this.#health.failures : 0;
  }

  /** Plans the next attempt. Returns the error for those who waited. */
  #failed(error: unknown, startedAt: number): LingpaiError {
    const { clock, random, settings, observe } = this.#deps;
    const { appId } = this.key;
    const now = this.#now();
    const durationMs = now - startedAt;
    const known =
      error instanceof UpstreamError || error instanceof LingpaiError
        ? error
        : new LingpaiError('the ticket could not be fetched inside the broker', { reason: 'INTERNAL', cause: error });
    if (known instanceof LingpaiError && known.reason === 'APP_NOT_FOUND') {
      this.#isWanted = false;
      return known;
    }
    const failures = this.#failures + 1;
    const { quotaResetHour } = settings;
    const attempt = { now, startedAt, failures, random, wallNow: clock.now(), quotaResetHour };
    const earliest = known instanceof LingpaiError ? startedAt + backoffMs(failures, random) : now;
    const retryAt = Math.max(earliest, nextAttemptAt(known, attempt));
    this.#health = { kind: 'failing', error: known, failures, retryAt };
    observe({ type: 'ticket_refresh_failed', ...this.#named(), durationMs, error: known, retryInMs: retryAt - now });
    if (known instanceof UpstreamError) {
      const { message, reason, answer = null } = known;
      const retryTime = clock.now() + retryAt - now;
      this.#trouble = { failures, time: clock.now(), retryTime, reason, message, answer };
      void this.#write();
    }
    return callersError(known, appId, retryAt - now);
  }

  /** What is told to who asks while the next attempt is planned. */
  #failure(): LingpaiError {
    const { appId } = this.key;
    if (this.#health.kind === 'failing')
      return callersError(this.#health.error, appId, this.#health.retryAt - this.#now());
    return new LingpaiError('no ticket is being fetched', { reason: 'INTERNAL', appId });
  }

  #write(): Promise<void> {
    return this.#save(toStoredTicket(this.key, this.#record, this.#trouble, this.#deps.timeline));
  }

  #named() {
    return { appId: this.key.appId, ticketType: this.key.type };
  }

  #now(): number {
    return this.#deps.timeline.elapsed();
  }
}
