import { type LingpaiError, UpstreamError } from '../../../src/core/kernel/errors.ts';
import type { BrokerEvent } from '../../../src/core/tokens/events.ts';
import { HOUR, MINUTE, SECOND, type World } from '../../support/world.ts';
import type { Findings } from './findings.ts';

/** A pause counts from the beginning of the refresh that failed. */
const FLIGHT_MS = MINUTE;

interface Pause {
  /** When WeChat must be asked again at the latest, in monotonic time. */
  latest: number;
  /** Before this it must not be: a person has been asked to act. */
  earliest: number;
  /** When something last happened that ends a pause. */
  forgivenAt: number;
}

/** How long the broker leaves WeChat alone after a failure: as long as its error asks for, and no longer. */
export class Pauses {
  readonly #world: World;
  readonly #findings: Findings;
  readonly #pauses = new Map<string, Pause>();

  constructor(world: World, findings: Findings) {
    this.#world = world;
    this.#findings = findings;
  }

  /** When the last of all pauses is over, in monotonic time. */
  get latest(): number {
    return Math.max(0, ...[...this.#pauses.values()].map(({ latest }) => latest));
  }

  landed(event: BrokerEvent & { type: 'rotated' | 'unchanged' | 'refresh_failed' }): void {
    const now = this.#world.clock.monotonic();
    const pause = this.#of(event.appId);
    pause.earliest = 0;
    if (event.type !== 'refresh_failed' || event.retryInMs === null) return;
    const { error } = event;
    pause.latest = now + longestPauseMs(error, event.retryInMs);
    const personal =
      error instanceof UpstreamError && error.recovery.kind === 'pause' && now - pause.forgivenAt > FLIGHT_MS;
    if (personal) pause.earliest = pause.latest - FLIGHT_MS;
  }

  /** A token endpoint is asked. */
  asked(appId: string): void {
    const rests = this.#world.clock.monotonic() >= this.#of(appId).earliest;
    this.#findings.law('nobody is asked again before the pause that WeChat asks for', rests, () => appId);
  }

  /** The app was reloaded, a caller insists, or the clock leapt: a pause may end. */
  forgive(appId: string): void {
    const pause = this.#of(appId);
    pause.earliest = 0;
    pause.forgivenAt = this.#world.clock.monotonic();
  }

  #of(appId: string): Pause {
    const pause = this.#pauses.get(appId) ?? { latest: 0, earliest: 0, forgivenAt: Number.NEGATIVE_INFINITY };
    this.#pauses.set(appId, pause);
    return pause;
  }
}

/** The longest that a failure may keep the broker from asking again, beyond 20 s: a planned pause counts up to a day. */
function longestPauseMs(error: UpstreamError | LingpaiError, plannedMs: number): number {
  if (!(error instanceof UpstreamError)) return Math.min(plannedMs, 24 * HOUR);
  const { recovery } = error;
  switch (recovery.kind) {
    case 'backoff':
    case 'never':
      return 0;
    case 'pause':
      return recovery.ms;
    case 'minute_quota':
      return 65 * SECOND;
    case 'daily_quota':
      return 15 * MINUTE;
  }
}
