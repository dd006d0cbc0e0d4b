import { type CallKind, callKinds, noCounts } from '../../../src/sandbox/calls.ts';
import { HOUR, SECOND, type World } from '../../support/world.ts';
import type { Findings } from './findings.ts';

/** A call on its way. */
export interface Active {
  readonly kind: CallKind;
  readonly at: number;
  readonly signal: AbortSignal;
}

/**
 * What an outage may cost an hour, and the probes beside it: 240 where a whole endpoint is down, half as many again where
 * WeChat reads a dead stable token but will not force a new one.
 */
const CALLS_AN_HOUR = 360 + 62;
/** A report may probe, read, force and read again. */
const CALLS_A_STIMULUS = 4;
const CALLS_A_SECOND = 20;

/** One app's calls: at most one at a time, each under its deadline, none too often. */
export class Traffic {
  readonly #world: World;
  readonly #findings: Findings;
  readonly #appId: string;
  readonly #counts: Record<CallKind, number> = noCounts();
  #active: Active[] = [];
  /** When calls were made and when something happened that may cause some, in monotonic time, within an hour. */
  readonly #calls: number[] = [];
  readonly #stimuli: number[] = [];

  constructor(world: World, findings: Findings, appId: string) {
    this.#world = world;
    this.#findings = findings;
    this.#appId = appId;
  }

  get active(): readonly Active[] {
    return this.#active;
  }

  /** Calls of these kinds that were begun; none named: all. */
  count(...kinds: CallKind[]): number {
    const counted: readonly CallKind[] = kinds.length > 0 ? kinds : callKinds;
    return counted.reduce((sum, kind) => sum + this.#counts[kind], 0);
  }

  /** Something happened that may cause calls. */
  stimulus(times: number): void {
    for (let i = 0; i < times; i++) this.#stimuli.push(this.#world.clock.monotonic());
  }

  /** Whether there was a call in the last second for each that is allowed in one: what loops must be stopped. */
  get storm(): boolean {
    const [first = Number.NEGATIVE_INFINITY] = this.#calls.slice(-CALLS_A_SECOND);
    return this.#calls.length >= CALLS_A_SECOND && first > this.#world.clock.monotonic() - SECOND;
  }

  begin(kind: CallKind, signal: AbortSignal): Active {
    const at = this.#world.clock.monotonic();
    const call = { kind, at, signal };
    const others = this.#active.filter((each) => !each.signal.aborted);
    const where = () => `${kind} beside ${others[0]?.kind} of ${this.#appId}`;
    this.#findings.law('at most one refresh an app', others.length === 0, where);
    this.#active = [...others, call];
    this.#counts[kind]++;
    this.#calls.push(at);
    for (const times of [this.#calls, this.#stimuli]) while ((times[0] ?? at) < at - HOUR) times.shift();
    const allowed = CALLS_AN_HOUR + CALLS_A_STIMULUS * this.#stimuli.length;
    const often = () => `${this.#calls.length} of ${this.#appId} in an hour, where ${allowed} are allowed`;
    this.#findings.law('an outage is not asked about too often', this.#calls.length <= allowed, often);
    this.#findings.law(
      'there is no storm of calls',
      !this.storm,
      () => `${CALLS_A_SECOND} of ${this.#appId} in a second`,
    );
    return call;
  }

  end(call: Active): void {
    this.#active = this.#active.filter((each) => each !== call);
  }

  /** The process died, and its calls with it. */
  died(): void {
    this.#active = [];
  }

  check(): void {
    for (const { kind, at, signal } of this.#active) {
      const late = this.#world.clock.monotonic() > at + this.#world.settings.timeoutMs && !signal.aborted;
      this.#findings.law('each call has a deadline', !late, () => `${kind} of ${this.#appId}`);
    }
  }
}
