import type { Call, Facts, Mint } from '../facts.ts';
import type { Dated } from '../history.ts';
import type { Evidence, Rule } from './rule.ts';

/** How long after two mints in an unknown order the confirming one must have been made: inside WeChat's overlap. */
const CONFIRMED_MS = 240_000;
/** A process whose answer is late asks WeChat about the token before anything is made of it. */
const ASKED_MS = 1_000;

/** A debt is overdue, or two mints crossed each other and none came after them, though replicas could make one. */
export class DebtUnpaid implements Rule {
  readonly #evidence: Evidence;
  /** By app: when the debt in the store is due, since when it is there, and the token whose place is in doubt. */
  readonly #debts = new Map<
    string,
    { readonly dueAt: number; readonly since: number; readonly current: string | null }
  >();
  readonly #known = new Set<string>();
  /** Mints that crossed others, with the time of their end. */
  readonly #crossed: { readonly app: string; readonly at: number; readonly mint: Mint }[] = [];

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type === 'record') {
      const { app, debtDueAt: dueAt, current, at } = event;
      const known = this.#debts.get(app);
      if (dueAt === null) this.#debts.delete(app);
      else this.#debts.set(app, { dueAt, since: known?.dueAt === dueAt ? known.since : at, current });
    }
    if (event.type === 'outcome' && event.outcome === 'answered') this.#ended(event.call, event.at);
  }

  tick(now: number): void {
    const { facts, bounds } = this.#evidence;
    // Limits P11: while no replica can mint, and from a clock that was set (P13), a debt waits; a fault adds a takeover. Where
    // the day's budget is spent it waits for the next day (P8).
    const excusedAt = Math.max(facts.noneAbleAt, facts.clockSetAt);
    const graceMs = bounds.debtMs + (facts.lastFault >= now - 2 * bounds.takeoverMs ? bounds.takeoverMs : 0);
    for (const [app, { dueAt, since, current }] of this.#debts) {
      // Limits P11: a stable token that is dead is replaced by a forced call, as soon as WeChat allows one: what a read says is known.
      if (facts.issuers.get(app) === 'stable' && current !== null && facts.isDead(current, now)) continue;
      if (now <= Math.max(dueAt, since, excusedAt) + graceMs || facts.isSpent(app, now, bounds)) continue;
      this.#break(`${app} ${dueAt}`, `the debt of ${app} is overdue for ${Math.round((now - dueAt) / 1000)} s`);
    }
    for (const { app, at, mint } of this.#crossed) {
      if (isOlder(mint, at)) continue;
      if (now <= Math.max(at + CONFIRMED_MS, excusedAt + graceMs) || this.#confirmed(facts, app, at)) continue;
      this.#break(`${app} ${at}`, `two mints for ${app} crossed and none came after them`);
    }
    if (this.#crossed.length > 0) this.#settle(facts, now);
  }

  #ended(id: number, at: number): void {
    const { facts } = this.#evidence;
    for (const app of facts.issuers.keys()) {
      if (facts.issuers.get(app) !== 'classic') continue;
      const calls = facts.callsOf(app);
      const ended = calls.find(({ call }) => call === id);
      if (ended?.mint && crossings(calls, ended).length > 0) this.#crossed.push({ app, at, mint: ended.mint });
    }
  }

  #confirmed(facts: Facts, app: string, at: number): boolean {
    return facts.callsOf(app).some(({ begunAt, mint }) => mint !== undefined && begunAt >= at);
  }

  #settle(facts: Facts, now: number): void {
    for (let i = this.#crossed.length - 1; i >= 0; i--) {
      const { app, at } = this.#crossed[i] as { app: string; at: number };
      if (this.#confirmed(facts, app, at) || now > at + 4 * CONFIRMED_MS) this.#crossed.splice(i, 1);
    }
  }

  #break(key: string, what: string): void {
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#evidence.broken(what);
  }
}

/** A debt is taken for paid although another mint crossed the one that paid it. */
export class DebtPaidByOverlappedMint implements Rule {
  readonly #evidence: Evidence;
  readonly #owing = new Map<string, number>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type !== 'record') return;
    const { app, by, generation, current, debtDueAt } = event;
    const owing = this.#owing.get(app);
    if (by === null || debtDueAt === null) this.#owing.delete(app);
    else this.#owing.set(app, generation);
    if (owing === undefined || by === null || debtDueAt !== null || generation <= owing || current === null) return;
    const { facts, broken } = this.#evidence;
    const paying = facts.mint(current)?.call;
    if (!paying) return;
    for (const other of crossings(facts.callsOf(app), paying)) {
      broken(`the mint by host ${paying.host} that pays the debt of ${app} crossed one by host ${other.host}`);
    }
  }
}

/** Whether WeChat refuses a token by the time its answer has been looked at: it is older than what displaced it. */
function isOlder({ diesAt }: Mint, answeredAt: number): boolean {
  return diesAt <= answeredAt + ASKED_MS;
}

/** The mints whose answers were known to their processes, and that were under way at the same time as this one. */
function crossings(calls: readonly Call[], call: Call): Call[] {
  return calls.filter(
    (other) =>
      other !== call &&
      other.mint !== undefined &&
      other.outcome === 'answered' &&
      !isOlder(other.mint, other.endedAt) &&
      other.begunAt < call.endedAt &&
      call.begunAt < other.endedAt,
  );
}
