import type { Dated } from '../history.ts';
import type { Evidence, Rule } from './rule.ts';

/** Two replicas that run, reach the store and have done so for a while mint for the same app at the same time. */
export class TwoMintsAtOnce implements Rule {
  readonly #evidence: Evidence;

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
  }

  take(event: Dated): void {
    if (event.type !== 'call') return;
    const { facts, bounds, broken } = this.#evidence;
    const { app, host, at } = event;
    // Limits P6, as P13 does: by a store's clock that was just set the other's mint may look settled.
    if (facts.clockSetAt + bounds.acquaintanceMs > at) return;
    // Limits P6: replicas that do not see each other through the store cannot wait for each other.
    const sees = (index: number) => facts.lastBad(index, 'down', 'paused', 'store') + bounds.acquaintanceMs < at;
    if (!sees(host)) return;
    for (const other of facts.callsOf(app)) {
      if (other.host === host || other.endedAt <= at || !sees(other.host)) continue;
      broken(
        `host ${host} mints for ${app} while host ${other.host} does so since ${Math.round(at - other.begunAt)} ms`,
      );
    }
  }
}

const DAY_MS = 86_400_000;
/** A mint of a trial comes within this time of its beginning: the faults of a trial are shorter, and so is a debt. */
const TRIAL_MS = 8 * 60_000;
/** P11: one mint that goes wrong, one that makes up for it, and one that confirms. */
const TRIAL_MINTS = { classic: 3, stable: 1 } as const;

/**
 * More mints than the schedule and the faults explain: around one fault of one mint, or between two calms, or in a day.
 * `scheduleMs` is the least time between two scheduled mints.
 */
export class TooManyMints implements Rule {
  readonly #evidence: Evidence;
  readonly #scheduleMs: number;
  /** By app: the trial in progress, and the mints in it. */
  readonly #trials = new Map<string, { begunAt: number | undefined; mints: number; late: number; lost: number }>();
  readonly #sinceCalm = new Map<string, { mints: number; allowed: number }>();
  #calmAt = 0;
  readonly #days = new Map<string, number>();
  /** Days in which the store lost what had been spent. */
  readonly #forgotten = new Set<number>();

  constructor(evidence: Evidence, scheduleMs: number) {
    this.#evidence = evidence;
    this.#scheduleMs = scheduleMs;
  }

  take(event: Dated): void {
    switch (event.type) {
      case 'allowance': {
        this.#since(event.app).allowed += event.mints;
        // Limits P11: the fault struck a mint of the schedule, and the operator's comes on top of it.
        const trial = this.#trials.get(event.app);
        if (trial?.begunAt !== undefined) trial.late++;
        return;
      }
      case 'trial':
        this.#trials.set(event.app, { begunAt: undefined, mints: 0, late: 0, lost: 0 });
        return;
      case 'call': {
        const trial = this.#trials.get(event.app);
        if (trial) trial.begunAt ??= event.at;
        return;
      }
      case 'outcome': {
        // Limits P11: one more whose fate nobody knows has to be made up for and confirmed once more, and so has one that is given up
        // only when that is over, since its process stood still.
        if (event.outcome !== 'lost') return;
        const { facts } = this.#evidence;
        for (const [app, trial] of this.#trials) {
          const call = facts.callsOf(app).find((each) => each.call === event.call);
          if (call && (++trial.lost > 1 || facts.madeUpFor(call, event.at) > 0)) trial.late++;
        }
        return;
      }
      case 'mint':
        if (event.by === 'call') this.#minted(event.app, event.token, event.at);
        return;
      case 'record':
        if (event.by === null) this.#forgotten.add(this.#evidence.facts.day(event.at));
        return;
      case 'calm':
        this.#calm(event.at);
    }
  }

  #minted(app: string, token: string, at: number): void {
    const { facts, bounds, broken } = this.#evidence;
    this.#since(app).mints++;
    const mint = facts.mint(token);
    const trial = this.#trials.get(app);
    const issuer = facts.issuers.get(app) ?? 'classic';
    if (trial?.begunAt !== undefined && at < trial.begunAt + TRIAL_MS) {
      trial.mints++;
      // Limits P11: one that comes after those that made up for it has to be made up for once more.
      if (mint?.call && facts.madeUpFor(mint.call, at) >= 2) trial.late++;
      if (trial.mints === TRIAL_MINTS[issuer] + trial.late + 1) {
        broken(`${trial.mints} mints for ${app} around one fault`);
      }
    }
    const day = this.#evidence.facts.day(at);
    const key = `${app} ${day}`;
    const spent = (this.#days.get(key) ?? 0) + 1;
    this.#days.set(key, spent);
    const budget = issuer === 'classic' ? bounds.dailyBudget : bounds.forceDailyBudget;
    // Limits P8: a store that went back has lost what was spent; by a store's clock that was set a day may end sooner or later than WeChat's.
    const isDayKnown = !this.#forgotten.has(day) && facts.clockSetAt < at - DAY_MS;
    if (spent === budget + 1 && isDayKnown) broken(`${spent} mints for ${app} in a day, above its budget`);
  }

  #calm(at: number): void {
    for (const [app, { mints, allowed }] of this.#sinceCalm) {
      const scheduled =
        this.#evidence.facts.issuers.get(app) === 'classic' ? (at - this.#calmAt) / this.#scheduleMs + 1 : 0;
      if (mints <= allowed + Math.floor(scheduled)) continue;
      this.#evidence.broken(
        `${mints} mints for ${app} between two calms, where ${allowed} and ${Math.floor(scheduled)} on schedule are explained`,
      );
    }
    this.#sinceCalm.clear();
    this.#trials.clear();
    this.#calmAt = at;
  }

  #since(app: string): { mints: number; allowed: number } {
    const since = this.#sinceCalm.get(app) ?? { mints: 0, allowed: 0 };
    this.#sinceCalm.set(app, since);
    return since;
  }
}
