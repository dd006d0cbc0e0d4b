import type { Timer } from '../../../src/core/kernel/clock.ts';
import type { Rejected } from '../../../src/core/tokens/rejected.ts';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import type { CallKind } from '../../../src/sandbox/calls.ts';
import { settle } from '../../support/clock.ts';
import { MINUTE } from '../../support/world.ts';
import { Caller, type Result } from './caller.ts';
import type { Command, Callers as Crowd } from './scenario.ts';
import type { Stage } from './stage.ts';

/** A refresh makes at most four calls, and a slow store some saves, before whoever joined it has an answer. */
const PATIENCE_MS = MINUTE;

/** Those who call the broker, and the laws of what it answers. */
export class Callers {
  readonly #stage: Stage;
  #waiting: Caller[] = [];

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** The laws that hold at every step of time. */
  check(): void {
    const now = this.#stage.world.clock.monotonic();
    for (const caller of this.#waiting) {
      caller.check();
      const late = !caller.settled && !caller.patient && now - caller.at > PATIENCE_MS;
      this.#stage.findings.law('every call is answered', !late, () => caller.name);
    }
    this.#waiting = this.#waiting.filter((caller) => !caller.settled);
  }

  /** The broker has stopped. */
  end(): void {
    for (const caller of this.#waiting) {
      caller.check();
      this.#stage.findings.law('every call is answered before the end', caller.settled, () => caller.name);
    }
  }

  /** Whoever still asks a broker that has stopped gets what it has in memory, unless that is over. */
  late(): void {
    const { world } = this.#stage;
    for (const appId of this.#stage.appIds) {
      try {
        const got = world.broker.get(appId);
        if (got instanceof Promise) got.catch(() => undefined);
        else this.#usable('Get after the end', got);
      } catch {
        // It has been taken out.
      }
    }
  }

  /** The process died: nobody will answer. */
  cut(): void {
    this.#waiting = [];
  }

  get(appId: string, min: 0 | 'current' | 'next', crowd: Crowd): void {
    const { findings, world } = this.#stage;
    const { generation = 0 } = this.#stage.state(appId) ?? {};
    const minGeneration = min === 0 ? 0 : min === 'current' ? generation : generation + 1;
    const calls = this.#callsSince(appId, 'classic', 'stable', 'stable_force');
    const wrap = (state: TokenState): Result => ({ state, outcome: undefined });
    this.#call(crowd, {
      name: `Get of ${appId}`,
      appId,
      patient: min === 'next',
      call: (signal) => {
        const got = world.broker.get(appId, { minGeneration, signal: () => signal });
        return got instanceof Promise ? got.then(wrap) : wrap(got);
      },
      onResult: ({ state }) => {
        this.#usable('Get', state);
        const reached = state.generation >= minGeneration;
        findings.law('Get never answers with less than the minimum generation', reached, () => appId);
      },
      onAll: () => {
        const shared = min === 'next' || calls() <= 2;
        findings.law('those who wait share one refresh', shared, () => `${calls()} calls of ${appId}`);
      },
    });
  }

  async report({ app, what, by, callers }: Omit<Command & { do: 'report' }, 'do'>): Promise<void> {
    const { findings, world } = this.#stage;
    const appId = this.#stage.appId(app);
    // What a leap makes due is not the report's doing.
    this.#stage.sweep();
    await settle();
    const state = this.#stage.state(appId);
    const rejected = this.#rejected(what, by, appId, state);
    if (!rejected) return;
    this.#stage.pauses.forgive(appId);
    const usable = state?.current && !this.#mustWait(appId);
    const calls = this.#callsSince(appId, 'classic', 'stable', 'stable_force', 'probe');
    const mints = this.#callsSince(appId, 'classic', 'stable_force');
    const reportedAt = world.clock.monotonic();
    this.#call(callers, {
      name: `ForceRefresh of ${appId}`,
      appId,
      call: (signal) => world.broker.forceRefresh(appId, rejected, signal),
      onResult: (result) => {
        const isNewer = result.state.generation > (state?.generation ?? 0);
        this.#outcome(result, isNewer, reportedAt);
        if (!usable) return;
        const isOld = result.outcome === 'ALREADY_NEWER';
        if (what === 'current') {
          findings.law('the current token is not taken for an older one', isNewer || !isOld, () => appId);
          return;
        }
        const free = isOld && calls() === 0;
        findings.law('a report of an older token costs no call', free, () => `${result.outcome} for ${appId}`);
      },
      onAll: () => {
        const law = 'N reports of one token make at most one mint';
        findings.law(law, mints() <= 1, () => `${mints()} of ${appId}`);
      },
    });
  }

  operator(appId: string, crowd: Crowd): void {
    const { findings, world, pauses } = this.#stage;
    pauses.forgive(appId);
    const mints = this.#callsSince(appId, 'classic', 'stable_force');
    const { generation = 0 } = this.#stage.state(appId) ?? {};
    this.#call(crowd, {
      name: `ForceRefresh of ${appId} by an operator`,
      appId,
      call: (signal) => world.broker.forceRefresh(appId, undefined, signal),
      onResult: (result) => this.#outcome(result, result.state.generation > generation, Infinity),
      onAll: () => {
        findings.law('N operators at once make at most one mint', mints() <= 1, () => `${mints()} of ${appId}`);
      },
    });
  }

  #call(
    { times, standbyDelayMs }: Crowd,
    one: {
      name: string;
      appId: string;
      patient?: boolean;
      call: (signal: AbortSignal) => Result | Promise<Result>;
      onResult: (result: Result) => void;
      onAll: () => void;
    },
  ): void {
    const { world, truth, upstream, findings } = this.#stage;
    upstream.of(one.appId).stimulus(times);
    let left = times;
    for (let i = 0; i < times; i++) {
      truth.see();
      let giveUp: Timer | undefined;
      const onSettled = () => {
        giveUp?.cancel();
        if (--left === 0) one.onAll();
      };
      const at = world.clock.monotonic();
      const caller = new Caller({ ...one, at, patient: one.patient ?? false, findings, onSettled });
      if (standbyDelayMs > 0 && !caller.settled) giveUp = world.clock.schedule(standbyDelayMs, () => caller.giveUp());
      this.#waiting.push(caller);
    }
  }

  #rejected(
    what: 'current' | 'older' | 'garbage',
    by: 'token' | 'generation',
    appId: string,
    state: TokenState | undefined,
  ): Rejected | undefined {
    const { generation = 0, current = null } = state ?? {};
    if (what === 'garbage') return by === 'token' ? { kind: 'token', token: 'never seen' } : undefined;
    const older = this.#stage.published.older(appId, generation);
    const token = what === 'older' ? older : current && { generation, value: current.value };
    if (!token || (what === 'older' && token.value === current?.value)) return undefined;
    return by === 'token'
      ? { kind: 'token', token: token.value }
      : { kind: 'generation', generation: token.generation };
  }

  /** `reportedAt`: when a token was reported; Infinity: none was. */
  #outcome({ state, outcome }: Result, isNewer: boolean, reportedAt: number): void {
    const { findings, upstream } = this.#stage;
    this.#usable('ForceRefresh', state);
    const newer = isNewer || (outcome !== 'REFRESHED' && outcome !== 'JOINED');
    findings.law('a refresh brings a newer generation', newer, () => `${outcome} of ${state.appId}`);
    const accepted = upstream.accepted.get(state.current?.value ?? '') ?? Number.NEGATIVE_INFINITY;
    const fresh = outcome !== 'STILL_VALID' || accepted >= reportedAt;
    findings.law('STILL_VALID is what a probe says that began after the report', fresh, () => state.appId);
  }

  #usable(what: string, { appId, current }: TokenState): void {
    const good = current !== null && !this.#stage.truth.over(current.value);
    this.#stage.findings.law('no call is answered with a token that is over', good, () => `${what} of ${appId}`);
  }

  /**
   * Counts calls begun from now on, but none once the app was taken out, for put back it is another, or once the clock has
   * leapt, for then an answer may be too old to be one.
   */
  #callsSince(appId: string, ...kinds: CallKind[]): () => number {
    const { upstream, truth } = this.#stage;
    const traffic = upstream.of(appId);
    const before = traffic.count(...kinds);
    const epoch = () => `${this.#stage.leavings(appId)} ${truth.forwardMs} ${truth.asleepMs}`;
    const begun = epoch();
    return () => (epoch() === begun ? traffic.count(...kinds) - before : 0);
  }

  #mustWait(appId: string): boolean {
    const got = this.#stage.world.broker.get(appId);
    if (!(got instanceof Promise)) return false;
    got.catch(() => undefined);
    return true;
  }
}
