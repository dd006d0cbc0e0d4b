import type { RefreshCause } from '../../../src/core/tokens/events.ts';
import type { MintCall } from '../../../src/core/tokens/issuers.ts';
import type { TokenCall } from '../../../src/core/tokens/ports.ts';
import { HOUR, SECOND, type World } from '../../support/world.ts';
import type { Findings } from './findings.ts';
import type { Truth } from './truth.ts';

/** The cooldown counts from the decision; the store is written before the call. */
const SAVE_MS = 2 * SECOND;

interface FlightCall {
  readonly call: TokenCall;
  readonly at: number;
  readonly stamp: string;
  /** The current token's value when the call was made. */
  readonly held: string | undefined;
  /** The value that WeChat answered with. */
  answer: string | undefined;
}

interface Account {
  day: number;
  readonly spent: Record<MintCall, number>;
  /** Calls of the refresh in progress. */
  flight: FlightCall[];
  lastForced: { readonly at: number; readonly stamp: string } | undefined;
  /** How often a crash took the newest record away: each time the broker may spend its budget anew. */
  losses: number;
}

/** The mints that each app may make: so many a day, and those that are not on the schedule not too close together. */
export class Spending {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #findings: Findings;
  readonly #accounts = new Map<string, Account>();
  /** How often the broker's clock was set or the process found it changed. */
  jumps = 0;
  #unsure = 0;

  constructor(world: World, truth: Truth, findings: Findings) {
    this.#world = world;
    this.#truth = truth;
    this.#findings = findings;
  }

  begin(appId: string, call: TokenCall): void {
    const account = this.#of(appId);
    const at = this.#world.clock.monotonic();
    const held = this.#world.broker.states().find((state) => state.appId === appId)?.current?.value;
    account.flight.push({ call, at, stamp: this.#stamp(account), held, answer: undefined });
    if (call !== 'stable') this.#spend(appId, account, call);
  }

  #spend(appId: string, account: Account, call: MintCall): void {
    const day = Math.floor((this.#truth.now() + 8 * HOUR) / (24 * HOUR));
    if (day !== account.day) Object.assign(account.spent, { classic: 0, stable_force: 0 });
    account.day = day;
    account.spent[call]++;
    const { dailyBudget, forceDailyBudget } = this.#world.settings;
    const budget = call === 'classic' ? dailyBudget : forceDailyBudget;
    // One that was written down before midnight may be made after it.
    const allowed = budget * (1 + account.losses + (this.jumps > 0 ? 1 + this.jumps : 0)) + 1;
    this.#findings.law(
      'budgets hold',
      account.spent[call] <= allowed,
      () => `${account.spent[call]} ${call} of ${appId}, where ${allowed} are allowed`,
    );
  }

  /** WeChat answered the call that was begun last. */
  answered(appId: string, value: string): void {
    const call = this.#of(appId).flight.at(-1);
    if (call) call.answer = value;
  }

  /** WeChat is known not to have minted. */
  refund(appId: string, call: TokenCall): void {
    if (call === 'stable') return;
    const { spent } = this.#of(appId);
    spent[call] = Math.max(0, spent[call] - 1);
  }

  /** A refresh of the app ended, or was aborted (`cause` undefined: why it began is not known). */
  landed(appId: string, cause: RefreshCause | undefined): void {
    const account = this.#of(appId);
    const calls = account.flight;
    account.flight = [];
    if (cause === undefined || cause === 'scheduled') return;
    for (const [i, { call }] of calls.entries()) {
      if (call !== 'stable_force' || cause === 'operator') continue;
      const read = calls[i - 1];
      // A leap may have ended its life since it was found dead.
      const needed = read !== undefined && (read.held === undefined || read.answer === read.held);
      this.#findings.law(
        'a token is forced only when a read returns the dead one',
        needed,
        () => `${cause} of ${appId}`,
      );
    }
    const { cooldownMs } = this.#world.settings;
    for (const call of calls) {
      if (call.call === 'stable') continue;
      const last = account.lastForced;
      const spaced = !last || last.stamp !== call.stamp || call.at - last.at >= cooldownMs - SAVE_MS;
      this.#findings.law('mints that are not scheduled are a cooldown apart', spaced, () => `${cause} of ${appId}`);
      account.lastForced = call;
    }
  }

  lost(appId: string): void {
    this.#of(appId).losses++;
  }

  #stamp(account: Account): string {
    // A leap that came between the decision and the call makes them look closer than they are.
    if (this.#truth.unsure) return `unsure ${++this.#unsure}`;
    return `${this.#truth.offset()} ${this.#truth.asleepMs} ${account.losses}`;
  }

  #of(appId: string): Account {
    const account = this.#accounts.get(appId) ?? {
      day: 0,
      spent: { classic: 0, stable_force: 0 },
      flight: [],
      lastForced: undefined,
      losses: 0,
    };
    this.#accounts.set(appId, account);
    return account;
  }
}
