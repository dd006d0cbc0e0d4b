import { abortable, withDeadline } from '../kernel/abortable.ts';
import { backoffMs } from '../kernel/backoff.ts';
import { CLOCKS_AGREE_MS, type Timer } from '../kernel/clock.ts';
import { callersError, LingpaiError, storeUnavailableError, UpstreamError } from '../kernel/errors.ts';
import { toToken } from '../tokens/app-record.ts';
import { nextAttemptAt } from '../tokens/backoff.ts';
import { budgetNow, joinBudgets, scheduledWaitMs, spend } from '../tokens/budget.ts';
import type { Grant, Trouble } from '../tokens/ports.ts';
import { RecordWriter } from '../tokens/record-writer.ts';
import type { Token, TokenState } from '../tokens/state.ts';
import { toldOf } from '../tokens/token-health.ts';
import type { Health } from '../tokens/view.ts';
import type { StoredTicket, TicketDeps, TicketKey } from './ports.ts';
import { NO_TICKET, reviveTicket, type TicketRecord, ticketDueAt, toStoredTicket } from './ticket-record.ts';

/** How long before its end a ticket is replaced though the store does not say whether another replica does so. */
const PRESSING_MS = 10 * 60_000;
/** The pause before it is looked whether another replica has brought the ticket that it fetches. */
const LOOK_AGAIN_MS = 500;
/** A replica that claims a ticket and dies keeps the others from it for so many times the deadline of one call. */
const CLAIMED_CALLS = 3;

/**
 * Keeps one ticket of one app, once somebody has asked for it: one flight at a time, which callers share, and a timer for its
 * successor. The old one is served until the new one is in hand, or its life is over.
 */
export class TicketKeeper {
  readonly key: TicketKey;
  readonly #deps: TicketDeps;
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
  /** WeChat is being asked: what it answers is not to be lost. */
  #isAsking = false;
  /** The wall time of the timeline's beginning: it falls where the clock was set back. */
  #origin: number;
  #timer: Timer | undefined;
  #closed: LingpaiError | undefined;

  /** `stored`: what the store had of it at the start. */
  constructor(deps: TicketDeps, key: TicketKey, stored?: StoredTicket) {
    const { clock, random, timeline, observe } = deps;
    this.key = key;
    this.#deps = deps;
    this.#heedsSince = clock.now();
    this.#origin = timeline.wallOf(0);
    const store = { save: (record: StoredTicket) => this.#store(record) };
    this.#writer = new RecordWriter<StoredTicket>({ clock, random, store, observe }, key.appId);
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
    if (!this.#isAsking) this.#flight?.controller.abort(reason);
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
    const { tokens, store, owner } = this.#deps;
    // Before anything is claimed: others are not to wait while this replica waits for a token.
    await this.#token(signal);
    if (!(await this.#claim(signal))) return;
    try {
      const state = await this.#token(signal);
      const { value, id } = tokenOf(state);
      await this.#ask(value, signal).catch(async (error: unknown) => {
        if (!(error instanceof UpstreamError) || error.reason !== 'TOKEN_REFUSED') throw error;
        this.#deps.observe({ type: 'ticket_token_refused', ...this.#named(), tokenId: id });
        const rejected = { kind: 'token', token: value, witness: 'broker' } as const;
        const newer = tokenOf((await tokens.forceRefresh(this.key.appId, rejected, signal)).state);
        // WeChat accepts it after all: it has said no to this call, and is not asked at once again.
        if (newer.value === value) throw error;
        await this.#ask(newer.value, signal);
      });
    } finally {
      // Where the store is away the claim ends by itself.
      await store.release(this.key, owner).catch(() => undefined);
    }
  }

  /** Resolves with false where another replica has brought a ticket. Throws what another replica has failed with, too. */
  async #claim(signal: AbortSignal): Promise<boolean> {
    const { store, owner, settings } = this.#deps;
    for (;;) {
      let isMine: boolean;
      let stored: StoredTicket | undefined;
      try {
        isMine = await store.claim(this.key, owner, CLAIMED_CALLS * settings.timeoutMs);
        stored = await store.read(this.key);
      } catch (cause) {
        if (this.#isPressing()) return true;
        throw storeUnavailableError(this.key.appId, 'another replica may be about to bring a ticket', cause);
      }
      try {
        if (stored && this.#adopt(stored)) {
          if (isMine) await store.release(this.key, owner).catch(() => undefined);
          return false;
        }
      } catch (error) {
        if (isMine) await store.release(this.key, owner).catch(() => undefined);
        throw error;
      }
      if (isMine) return true;
      await this.#pause(signal);
    }
  }

  #isPressing(): boolean {
    const { ticket } = this.#record;
    return !ticket || ticket.expiresAt - this.#now() <= PRESSING_MS;
  }

  #pause(signal: AbortSignal): Promise<void> {
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.#deps.clock.schedule(LOOK_AGAIN_MS, resolve);
    });
    return abortable(over, signal, () => {
      timer?.cancel();
      return true;
    });
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

  async #token(signal: AbortSignal): Promise<TokenState> {
    return await this.#deps.tokens.get(this.key.appId, { signal: () => signal });
  }

  /** One call of getticket, within the budget; its ticket is in use when it resolves. */
  async #ask(token: string, signal: AbortSignal): Promise<void> {
    const { clock, settings, wechat } = this.#deps;
    const { type } = this.key;
    const sentAt = this.#now();
    const before = budgetNow(this.#record.budget, clock.now(), settings);
    const waitMs = scheduledWaitMs(before, sentAt - this.#record.lastCallAt, clock.now(), settings);
    if (waitMs > 0) throw budgetError(waitMs);
    this.#record = { ...this.#record, budget: spend(before, 'mints', 1), lastCallAt: sentAt };
    this.#isAsking = true;
    try {
      const fetch = (limited: AbortSignal) => wechat.fetchTicket(type, token, limited);
      this.#use(await withDeadline(clock, settings.timeoutMs, signal, fetch), sentAt);
    } catch (error) {
      if (error instanceof UpstreamError && error.effect === 'unsent')
        this.#record = { ...this.#record, budget: spend(this.#record.budget, 'mints', -1) };
      throw error;
    } finally {
      this.#isAsking = false;
    }
    const durationMs = this.#now() - sentAt;
    const { id: ticketId } = this.#record.ticket as { id: string };
    this.#deps.observe({ type: 'ticket_rotated', ...this.#named(), ticketId, durationMs });
    // Served from now on, whether or not the store takes it; the claim is kept until it has, since others read it there.
    await this.#write();
  }

  /** Takes WeChat's answer into use. Its life counts from before the request left. */
  #use({ value, id, lifetimeMs }: Grant, sentAt: number): void {
    const { clock, random, settings } = this.#deps;
    const life = { issuedAt: sentAt, expiresAt: sentAt + lifetimeMs };
    if (life.expiresAt <= this.#now()) throw overError();
    const ticket = { value, id, ...life, answeredAt: clock.monotonic(), dueAt: ticketDueAt(life, settings, random()) };
    this.#record = { ...this.#record, ticket };
    this.#landed();
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

  /** Stores a record, unless another replica has stored a ticket that ends later: this one has waited for the store to return. */
  async #store(record: StoredTicket): Promise<void> {
    const { store } = this.#deps;
    const there = (await store.read(this.key))?.ticket;
    const isOurs = !there || there.id === record.ticket?.id;
    if (!isOurs && there.expireTime > (record.ticket?.expireTime ?? 0)) return;
    await store.save(record);
  }

  #named() {
    return { appId: this.key.appId, ticketType: this.key.type };
  }

  #now(): number {
    return this.#deps.timeline.elapsed();
  }
}

function tokenOf({ current }: TokenState): { readonly value: string; readonly id: string } {
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
