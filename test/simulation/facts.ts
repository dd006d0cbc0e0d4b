import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import type { Bounds } from './bounds.ts';
import type { Condition, Dated, Outcome } from './history.ts';

/** A call that mints, from when its process began it. */
export interface Call {
  readonly call: number;
  readonly host: number;
  readonly app: string;
  readonly forced: boolean;
  readonly begunAt: number;
  /** When its process knew what became of it, or gave up. */
  endedAt: number;
  outcome: Outcome | undefined;
  /** What it made, once it has. */
  mint: Mint | undefined;
}

/** Why a token died before its time. `stuck`: it was revoked, and a read goes on bringing it. */
export type Cause = Mint | 'revoked' | 'stuck';

/** A token that WeChat made. */
export interface Mint {
  readonly app: string;
  readonly token: string;
  readonly at: number;
  readonly by: 'call' | 'read' | 'outside';
  readonly call: Call | undefined;
  /** When its own time is over. */
  readonly endsAt: number;
  /** From when WeChat refuses it. */
  diesAt: number;
  /** What made it die before its time. */
  killer: Cause | undefined;
  /** The one that came directly after it, and began its overlap. */
  successor: Mint | undefined;
}

const CONDITIONS: readonly Condition[] = ['down', 'paused', 'store', 'upstream'];

/** One machine. `lastBad`: when each condition was last seen bad; Infinity while it is. */
export interface Host {
  readonly bad: Set<Condition>;
  readonly lastBad: Record<Condition, number>;
}

const DAY_MS = 86_400_000;
const SHANGHAI_MS = 8 * 3_600_000;
/** A budget keeps a fifth for the schedule, and counts what was begun and not carried out. */
const SPENT_SHARE = 0.6;
/** Replicas that go by the store's clock differ by less. */
const ROUNDING_MS = 2_000;

const LONG_AGO = Number.NEGATIVE_INFINITY;

/** What the happenings so far come to. */
export class Facts {
  readonly issuers: ReadonlyMap<string, IssuerKind>;
  readonly hosts: readonly Host[];
  readonly #epochTime: number;
  readonly #mints = new Map<string, Mint>();
  /** Calls that mint, by app and day, WeChat's and the store's. */
  readonly #spent = new Map<string, number>();
  readonly #newest = new Map<string, Mint>();
  readonly #calls = new Map<number, Call>();
  /** By app, in the order in which they began. */
  readonly #callsOf = new Map<string, Call[]>();
  /** When there was last no replica that could mint; Infinity while there is none. */
  noneAbleAt = LONG_AGO;
  /** When the store last came back without its newest records, and no process was left that knew them. */
  forgottenAt = LONG_AGO;
  /** When the store's clock was last set. */
  clockSetAt = LONG_AGO;
  /** By app: when its record was last lost or rolled back. */
  readonly #rolledBackAt = new Map<string, number>();
  /** Calls whose record the store has lost, when every process that knew of them had ended. */
  readonly #unrecorded = new Set<Call>();
  /** By token: the hosts that have published it. */
  readonly #publishers = new Map<string, Set<number>>();
  #storeClockMs = 0;

  constructor(hosts: number, issuers: ReadonlyMap<string, IssuerKind>, epochTime: number) {
    this.issuers = issuers;
    this.#epochTime = epochTime;
    this.hosts = Array.from({ length: hosts }, () => ({
      bad: new Set<Condition>(['down']),
      lastBad: { down: Number.POSITIVE_INFINITY, paused: LONG_AGO, store: LONG_AGO, upstream: LONG_AGO },
    }));
    this.noneAbleAt = Number.POSITIVE_INFINITY;
  }

  take(event: Dated): void {
    switch (event.type) {
      case 'condition':
        this.#condition(event.at, this.host(event.host), event.what, event.bad);
        return;
      case 'record':
        if (event.by === null) this.#rolledBack(event.app, event.at);
        return;
      case 'store clock':
        this.clockSetAt = event.at;
        this.#storeClockMs += event.byMs;
        return;
      case 'call': {
        const { call, host, app, forced, at } = event;
        const begun = { call, host, app, forced, begunAt: at, endedAt: Number.POSITIVE_INFINITY } as const;
        const known: Call = { ...begun, outcome: undefined, mint: undefined };
        this.#calls.set(call, known);
        this.#callsOf.set(app, [...this.callsOf(app), known]);
        for (const key of this.#days(app, at)) this.#spent.set(key, (this.#spent.get(key) ?? 0) + 1);
        return;
      }
      case 'published':
        if (event.current !== null) this.#published(event.current, event.host);
        return;
      case 'outcome': {
        const call = this.#calls.get(event.call);
        if (!call) return;
        call.endedAt = event.at;
        call.outcome = event.outcome;
        return;
      }
      case 'mint': {
        const { app, token, at, by, endsAt } = event;
        const call = event.call === null ? undefined : this.#calls.get(event.call);
        const mint: Mint = {
          app,
          token,
          at,
          by,
          call,
          endsAt,
          diesAt: endsAt,
          killer: undefined,
          successor: undefined,
        };
        const before = this.#newest.get(app);
        if (before) before.successor = mint;
        this.#newest.set(app, mint);
        if (call) call.mint = mint;
        this.#mints.set(token, mint);
        for (const death of event.deaths) this.#dies(death.token, death.at, mint);
        return;
      }
      case 'revoked':
        for (const { token, at } of event.deaths) this.#dies(token, at, event.stuck ? 'stuck' : 'revoked');
        return;
    }
  }

  host(index: number): Host {
    const host = this.hosts[index];
    if (!host) throw new RangeError(`no host ${index}`);
    return host;
  }

  mint(token: string): Mint | undefined {
    return this.#mints.get(token);
  }

  /** The calls of an app that mint, in the order in which they began. */
  callsOf(app: string): Call[] {
    return this.#callsOf.get(app) ?? [];
  }

  /** The days in which a moment is: WeChat's, and that of the store's clock, by which the replicas count. */
  #days(app: string, at: number): readonly [string, string] {
    return [`${app} WeChat ${this.day(at)}`, `${app} store ${this.day(at + this.#storeClockMs)}`];
  }

  /** WeChat's day, by which it counts calls. */
  day(at: number): number {
    return Math.floor((this.#epochTime + at + SHANGHAI_MS) / DAY_MS);
  }

  /** Whether so many calls of an app were begun today that its budget may keep it from more. */
  isSpent(app: string, at: number, bounds: Bounds): boolean {
    const budget = this.issuers.get(app) === 'classic' ? bounds.dailyBudget : bounds.forceDailyBudget;
    return this.#days(app, at).some((day) => (this.#spent.get(day) ?? 0) >= budget * SPENT_SHARE);
  }

  /** Whether WeChat refuses a token. */
  isDead(token: string, now: number): boolean {
    const mint = this.#mints.get(token);
    return mint !== undefined && mint.diesAt <= now;
  }

  /** From when the budget may have been there again, if it was spent the day before: the day's beginning. */
  replenishedAt(app: string, now: number, bounds: Bounds): number {
    const begun = [now, now + this.#storeClockMs].map((time) => {
      const dayAt = this.day(time) * DAY_MS - SHANGHAI_MS - this.#epochTime - (time - now);
      return this.isSpent(app, dayAt - 1, bounds) ? Math.max(dayAt, this.clockSetAt) : LONG_AGO;
    });
    return Math.max(...begun.filter((at) => at <= now));
  }

  /** When the record of an app was last lost or rolled back. */
  rolledBackAt(app: string): number {
    return this.#rolledBackAt.get(app) ?? LONG_AGO;
  }

  /** When a host last had one of these conditions; Infinity: it has. */
  lastBad(index: number, ...conditions: readonly Condition[]): number {
    const { lastBad } = this.host(index);
    let last = LONG_AGO;
    for (const what of conditions) last = Math.max(last, lastBad[what]);
    return last;
  }

  /** When any host last had any condition; Infinity: one has. */
  get lastFault(): number {
    return Math.max(...this.hosts.map((_, index) => this.lastBad(index, ...CONDITIONS)));
  }

  /** Whether nobody here can know of a mint, nor WeChat tell: somebody else made it, or all records of it were lost. */
  isForgotten({ by, at, call }: Mint): boolean {
    return by === 'outside' || at <= this.forgottenAt || (call !== undefined && this.#unrecorded.has(call));
  }

  /**
   * Whether nobody here can know of a mint: it is forgotten, or its process had given up or died and it arrived when what
   * makes up for it was over: the provisional mint and the confirming one, or one that began when no overlap was left.
   */
  isSilent(mint: Mint, { settledMs }: Bounds): boolean {
    if (this.isForgotten(mint)) return true;
    const { call } = mint;
    if (call?.outcome !== 'lost') return false;
    // By a clock that was set meanwhile nobody can tell how old the request is.
    if (this.clockSetAt >= call.begunAt && this.clockSetAt <= mint.at) return true;
    const later = this.#laterThan(call, mint.at);
    return later.length >= 2 || later.some(({ begunAt }) => begunAt >= call.begunAt + settledMs - ROUNDING_MS);
  }

  /** How many mints began after a call and were known to their processes before a moment. */
  madeUpFor(call: Call, before: number): number {
    return this.#laterThan(call, before).length;
  }

  #laterThan({ app, begunAt }: Call, before: number): readonly Call[] {
    const later = this.callsOf(app).filter((call) => call.begunAt > begunAt && call.outcome === 'answered');
    return later.filter(({ mint }) => mint !== undefined && mint.at < before);
  }

  #condition(at: number, host: Host, what: Condition, bad: boolean): void {
    if (bad) host.bad.add(what);
    else if (!host.bad.delete(what)) return;
    host.lastBad[what] = bad ? Number.POSITIVE_INFINITY : at;
    const able = this.hosts.some((each) => each.bad.size === 0);
    if (!able) this.noneAbleAt = Number.POSITIVE_INFINITY;
    else if (this.noneAbleAt === Number.POSITIVE_INFINITY) this.noneAbleAt = at;
  }

  #rolledBack(app: string, at: number): void {
    this.#rolledBackAt.set(app, at);
    if (this.hosts.every(({ bad }) => bad.has('down'))) this.forgottenAt = at;
    for (const call of this.callsOf(app)) {
      const witnesses = [call.host, ...(this.#publishers.get(call.mint?.token ?? '') ?? [])];
      if (witnesses.every((host) => this.lastBad(host, 'down') >= call.begunAt)) this.#unrecorded.add(call);
    }
  }

  #published(token: string, host: number): void {
    const publishers = this.#publishers.get(token) ?? new Set();
    this.#publishers.set(token, publishers.add(host));
  }

  /** Whether a host has published a token. */
  hasHad(token: string, host: number): boolean {
    return this.#publishers.get(token)?.has(host) ?? false;
  }

  #dies(token: string, at: number, killer: Cause): void {
    const mint = this.#mints.get(token);
    if (!mint || at >= mint.diesAt) return;
    mint.diesAt = at;
    mint.killer = killer;
  }
}
