import type { Random } from '../../src/core/kernel/clock.ts';
import type { IssuerKind } from '../../src/core/tokens/ports.ts';
import { seeded } from '../support/random.ts';
import { STEPS, type Step } from './steps.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Who is meant: a host by its number, or all. */
export type Target = number | 'all';

/** What befalls the process that comes to a step of a mint. */
export type Blow = 'pause' | 'crash' | 'cut from store' | 'cut from WeChat' | 'store stops';

/** Something that goes wrong, or that somebody does. `ms`: for how long. */
export type Fault =
  | { readonly kind: 'pause'; readonly host: number; readonly ms: number }
  | { readonly kind: 'crash'; readonly host: number; readonly ms: number }
  /** Every replica is drained and started anew, one after another. */
  | { readonly kind: 'rolling restart' }
  | { readonly kind: 'cut from store'; readonly target: Target; readonly ms: number }
  | { readonly kind: 'slow store'; readonly target: Target; readonly latencyMs: number; readonly ms: number }
  | {
      readonly kind: 'lossy store';
      readonly target: Target;
      readonly requests: number;
      readonly answers: number;
      readonly ms: number;
    }
  /** Hints no longer reach the host. */
  | { readonly kind: 'deaf'; readonly host: number; readonly ms: number }
  /** The store is down for `ms`, and comes back as it was `backMs` before (Infinity: empty). */
  | { readonly kind: 'store restart'; readonly backMs: number; readonly ms: number }
  | { readonly kind: 'store clock'; readonly byMs: number }
  | { readonly kind: 'wall clock'; readonly host: number; readonly byMs: number }
  | { readonly kind: 'cut from WeChat'; readonly target: Target; readonly ms: number }
  | { readonly kind: 'slow WeChat'; readonly target: Target; readonly latencyMs: number; readonly ms: number }
  /** WeChat's answers to this host get lost. */
  | { readonly kind: 'lossy WeChat'; readonly target: Target; readonly share: number; readonly ms: number }
  | { readonly kind: 'WeChat busy'; readonly share: number; readonly ms: number }
  /** The next mint's request is on its way for so long. */
  | { readonly kind: 'mint held'; readonly app: number; readonly ms: number }
  | { readonly kind: 'mint answer lost'; readonly app: number }
  /** When a process comes to this step of a mint, `blow` befalls it for `ms`. */
  | { readonly kind: 'ambush'; readonly app: number; readonly step: Step; readonly blow: Blow; readonly ms: number }
  | { readonly kind: 'outside mint'; readonly app: number }
  | { readonly kind: 'revoked'; readonly app: number; readonly which: 'current' | 'all'; readonly stuck: boolean }
  /** An operator asks a replica for a new token. */
  | { readonly kind: 'operator'; readonly app: number; readonly host: number }
  /** Callers ask for the token, and report it, `everyMs` for `ms`, at hosts in turn. */
  | { readonly kind: 'storm'; readonly app: number; readonly everyMs: number; readonly ms: number };

/** A fault and when it begins, in milliseconds from the beginning of its episode. */
export interface Planned {
  readonly afterMs: number;
  readonly fault: Fault;
}

/** A time of faults and the calm after it; all faults are healed at `healAt`. Times from the beginning of the simulation. */
export interface Episode {
  readonly beginAt: number;
  readonly healAt: number;
  readonly calmAt: number;
  readonly faults: readonly Planned[];
  /** The app of which it tries one mint, with nothing else beside; undefined: it does not. */
  readonly trial: number | undefined;
}

/** A simulated day, all that happens in it but for what the seed draws as it goes. */
export interface Scenario {
  readonly seed: number;
  /** In milliseconds: how long is played. */
  readonly lengthMs: number;
  readonly hosts: number;
  readonly issuers: readonly IssuerKind[];
  readonly lifetimeMs: number;
  readonly pollMs: number;
  readonly leaseMs: number;
  /** Mints and forced calls a day and app; WeChat allows a tenth more. */
  readonly dailyBudget: number;
  readonly forceDailyBudget: number;
  readonly episodes: readonly Episode[];
}

/** How long all is left alone after the last fault: a debt may be due in it, a late mint kills after the overlap. */
const CALM_MS = 10 * MINUTE;

/** What no day spends, and what some days do: then mints that nobody can make are no fault. */
const AMPLE = { dailyBudget: 1000, forceDailyBudget: 200 };
const THRIFTY = { dailyBudget: 120, forceDailyBudget: 18 };

/** The simulated day of a seed. */
export function scenarioOf(seed: number, lengthMs = 24 * HOUR): Scenario {
  const draw = new Draw(seeded(seed));
  const hosts = draw.one([2, 3, 3]);
  const issuers = draw.one<readonly IssuerKind[]>([
    ['classic'],
    ['stable'],
    ['classic', 'stable'],
    ['classic', 'stable'],
    ['classic', 'classic'],
  ]);
  const episodes: Episode[] = [];
  // The first tokens come in peace.
  for (let at = 5 * MINUTE; ; ) {
    const episode = draw.episode(at, hosts, issuers);
    if (episode.calmAt + 90 * SECOND > lengthMs) break;
    episodes.push(episode);
    // So that episodes meet tokens of every age.
    at = episode.calmAt + 70 * SECOND + draw.between(0, 20 * MINUTE);
  }
  return {
    seed,
    lengthMs,
    hosts,
    issuers,
    lifetimeMs: draw.one([40 * MINUTE, 2 * HOUR]),
    pollMs: draw.one([2, 3, 5]) * SECOND,
    leaseMs: 15 * SECOND,
    ...draw.one([AMPLE, AMPLE, AMPLE, AMPLE, THRIFTY]),
    episodes,
  };
}

/** What a seed draws. */
class Draw {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  between(least: number, most: number): number {
    return least + this.#random() * (most - least);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  one<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }

  episode(beginAt: number, hosts: number, issuers: readonly IssuerKind[]): Episode {
    const app = Math.floor(this.#random() * issuers.length);
    const isTrial = this.chance(0.3);
    const faults = isTrial ? this.#trial(app, hosts) : this.#mixture(app, hosts, issuers.length);
    const lengthMs = isTrial ? 6 * MINUTE : this.between(2, 12) * MINUTE;
    const healAt = beginAt + lengthMs;
    return { beginAt, healAt, calmAt: healAt + CALM_MS, faults, trial: isTrial ? app : undefined };
  }

  /** One mint that an operator asks for, and one blow to whoever makes it. */
  #trial(app: number, hosts: number): Planned[] {
    const host = Math.floor(this.#random() * hosts);
    const operator: Planned = { afterMs: 10 * SECOND, fault: { kind: 'operator', app, host } };
    const step = this.one(STEPS);
    const blow = this.one<Blow>(['pause', 'pause', 'crash', 'cut from store', 'cut from WeChat']);
    const ms = this.one([this.between(1, 5), this.between(15, 60), this.between(60, 240)]) * SECOND;
    const heldMs = this.one([this.between(1, 6), this.between(6, 60), this.between(60, 300)]) * SECOND;
    const fault = this.one<Fault>([
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'mint held', app, ms: heldMs },
      { kind: 'mint answer lost', app },
    ]);
    return [{ afterMs: 0, fault }, operator];
  }

  #mixture(app: number, hosts: number, apps: number): Planned[] {
    const faults: Planned[] = [];
    const add = (fault: Fault) => faults.push({ afterMs: this.between(0, 60) * SECOND, fault });
    const count = this.one([1, 1, 2, 2, 3, 4]);
    for (let i = 0; i < count; i++) add(this.#fault(app, hosts));
    if (this.chance(0.5)) add({ kind: 'operator', app, host: Math.floor(this.#random() * hosts) });
    if (this.chance(0.2)) add(this.#fault(Math.floor(this.#random() * apps), hosts));
    return faults;
  }

  #fault(app: number, hosts: number): Fault {
    const host = Math.floor(this.#random() * hosts);
    const target: Target = this.chance(0.25) ? 'all' : host;
    const ms = this.one([this.between(1, 10), this.between(10, 60), this.between(60, 400)]) * SECOND;
    const step = this.one(STEPS);
    const blow = this.one<Blow>(['pause', 'pause', 'crash', 'cut from store', 'cut from WeChat', 'store stops']);
    const backMs = this.one([0, this.between(0, 60) * SECOND, this.between(1, 60) * MINUTE, Number.POSITIVE_INFINITY]);
    const byMs = this.one([-1, 1]) * this.one([this.between(1, 60) * SECOND, this.between(1, 60) * MINUTE]);
    return this.one<Fault>([
      { kind: 'pause', host, ms },
      { kind: 'crash', host, ms: Math.min(ms, 2 * MINUTE) },
      { kind: 'rolling restart' },
      { kind: 'cut from store', target, ms },
      { kind: 'slow store', target, latencyMs: this.one([200, 700, 3000]), ms },
      { kind: 'lossy store', target, requests: this.one([0, 0.1, 0.3]), answers: this.one([0.1, 0.3]), ms },
      { kind: 'deaf', host, ms },
      { kind: 'store restart', backMs, ms: this.between(0.1, 90) * SECOND },
      { kind: 'store clock', byMs },
      { kind: 'wall clock', host, byMs },
      { kind: 'cut from WeChat', target, ms },
      { kind: 'slow WeChat', target, latencyMs: this.one([1000, 4000, 8000]), ms },
      { kind: 'lossy WeChat', target, share: this.one([0.3, 0.8]), ms },
      { kind: 'WeChat busy', share: this.one([0.3, 1]), ms },
      { kind: 'mint held', app, ms },
      { kind: 'mint answer lost', app },
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'ambush', app, step, blow, ms },
      { kind: 'outside mint', app },
      { kind: 'revoked', app, which: this.one(['current', 'all']), stuck: this.chance(0.3) },
      { kind: 'storm', app, everyMs: this.one([50, 500, 3000]), ms: this.between(5, 120) * SECOND },
    ]);
  }
}
