import { UpstreamError } from '../../../src/core/errors.ts';
import type { WeChat } from '../../../src/core/ports.ts';
import { type CallKind, callKinds } from '../../../src/sandbox/calls.ts';
import { HOUR, SECOND, type World } from '../../support/world.ts';
import type { Findings } from './findings.ts';
import type { Spending } from './spending.ts';
import type { Truth } from './truth.ts';

interface Active {
  readonly kind: CallKind;
  readonly at: number;
  readonly signal: AbortSignal;
}

interface Traffic {
  active: Active[];
  /** When calls were made and when something happened that may cause some, in monotonic time, within an hour. */
  calls: number[];
  stimuli: number[];
  readonly counts: Record<CallKind, number>;
}

/**
 * What an outage may cost an hour, and the canary beside it: 240 where a whole endpoint is down, half as many again where
 * WeChat reads a dead stable token but will not force a new one.
 */
const CALLS_AN_HOUR = 360 + 62;
/** A report may probe, read, force and read again. */
const CALLS_A_STIMULUS = 4;

/** WeChat's port, watched: at most one call of an app at a time, each under its deadline, none too often. */
export class Upstream {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #spending: Spending;
  readonly #findings: Findings;
  readonly #traffic = new Map<string, Traffic>();
  /** When WeChat last said that it accepts a token, in monotonic time, by value. */
  readonly accepted = new Map<string, number>();

  constructor(world: World, truth: Truth, spending: Spending, findings: Findings) {
    this.#world = world;
    this.#truth = truth;
    this.#spending = spending;
    this.#findings = findings;
  }

  tap(wechat: WeChat): WeChat {
    return {
      fetchToken: async (app, kind, signal) => {
        // A call that is aborted before it begins is none.
        if (signal.aborted) return await wechat.fetchToken(app, kind, signal);
        const { appId } = app;
        const { forwardMs } = this.#truth;
        const call = this.#begin(appId, kind, signal);
        if (kind !== 'stable') this.#spending.begin(appId, kind);
        try {
          const grant = await wechat.fetchToken(app, kind, signal);
          this.#truth.issued(appId, grant.value, grant.id, forwardMs);
          return grant;
        } catch (error) {
          const effect = error instanceof UpstreamError ? error.effect : 'unknown';
          if (kind !== 'stable' && effect !== 'unknown') this.#spending.refund(appId, kind);
          // A read that was lost near a token's end may have told of its successor, which is the next mint's predecessor.
          if (kind === 'stable' && effect === 'unknown') this.#truth.disturb(appId, 'stable');
          throw error;
        } finally {
          this.#end(appId, call);
        }
      },
      probe: async (token, signal) => {
        if (signal.aborted) return await wechat.probe(token, signal);
        const appId = this.#truth.fact(token)?.appId ?? '';
        this.#findings.law('only tokens that WeChat issued are probed', appId !== '', () => 'an unknown one');
        const { asleepMs } = this.#truth;
        const call = this.#begin(appId, 'probe', signal);
        try {
          const verdict = await wechat.probe(token, signal);
          if (verdict.accepted) {
            this.accepted.set(token, this.#world.clock.monotonic());
            if (asleepMs === this.#truth.asleepMs) this.#truth.accepted(token);
          }
          return verdict;
        } finally {
          this.#end(appId, call);
        }
      },
    };
  }

  /** Calls of these kinds that were begun. */
  count(appId: string, ...kinds: CallKind[]): number {
    const { counts } = this.#of(appId);
    return kinds.reduce((sum, kind) => sum + counts[kind], 0);
  }

  /** All calls that were begun. */
  get total(): number {
    return [...this.#traffic.keys()].reduce((sum, appId) => sum + this.count(appId, ...callKinds), 0);
  }

  /** Something happened that may cause calls. */
  stimulus(appId: string, times: number): void {
    for (let i = 0; i < times; i++) this.#of(appId).stimuli.push(this.#world.clock.monotonic());
  }

  busy(appId: string): boolean {
    return this.#of(appId).active.length > 0;
  }

  /** The process died, and its calls with it. */
  died(): void {
    for (const traffic of this.#traffic.values()) traffic.active = [];
  }

  check(): void {
    for (const [appId, { active }] of this.#traffic) {
      for (const { kind, at, signal } of active) {
        const late = this.#world.clock.monotonic() > at + this.#world.settings.timeoutMs && !signal.aborted;
        this.#findings.law('each call has a deadline', !late, () => `${kind} of ${appId}`);
      }
    }
  }

  #begin(appId: string, kind: CallKind, signal: AbortSignal): Active {
    const traffic = this.#of(appId);
    const at = this.#world.clock.monotonic();
    const call = { kind, at, signal };
    const others = traffic.active.filter((each) => !each.signal.aborted);
    this.#findings.law(
      'at most one flight an app',
      others.length === 0,
      () => `${kind} beside ${others[0]?.kind} of ${appId}`,
    );
    traffic.active = [...others, call];
    traffic.counts[kind]++;
    traffic.calls.push(at);
    for (const times of [traffic.calls, traffic.stimuli]) while ((times[0] ?? at) < at - HOUR) times.shift();
    const allowed = CALLS_AN_HOUR + CALLS_A_STIMULUS * traffic.stimuli.length;
    this.#findings.law(
      'an outage is not asked about too often',
      traffic.calls.length <= allowed,
      () => `${traffic.calls.length} of ${appId}, where ${allowed} are allowed`,
    );
    const recent = traffic.calls.findLastIndex((time) => time <= at - SECOND);
    this.#findings.law(
      'no storm of calls',
      traffic.calls.length - 1 - recent <= 20,
      () => `more than 20 calls of ${appId} in a second`,
    );
    return call;
  }

  #end(appId: string, call: Active): void {
    const traffic = this.#of(appId);
    traffic.active = traffic.active.filter((each) => each !== call);
  }

  #of(appId: string): Traffic {
    const traffic = this.#traffic.get(appId) ?? {
      active: [],
      calls: [],
      stimuli: [],
      counts: { classic: 0, stable: 0, stable_force: 0, probe: 0 },
    };
    this.#traffic.set(appId, traffic);
    return traffic;
  }
}
