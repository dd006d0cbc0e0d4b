import { callersError, LingpaiError, UpstreamError } from '../kernel/errors.ts';
import { nextAttemptAt } from './backoff.ts';
import type { RefreshCause } from './events.ts';
import { isForced, isMint } from './issuers.ts';
import { retryAtLatest } from './plan.ts';
import type { App, TokenCall } from './ports.ts';
import type { RefreshParts } from './refresh.ts';

/** A refresh that failed. */
export interface FailedRefresh {
  readonly cause: RefreshCause;
  readonly app: App;
  /** The generation with which it began. */
  readonly base: number;
  /** In elapsed milliseconds. */
  readonly startedAt: number;
  /** The call of a token endpoint that failed; undefined: none did. */
  readonly asked: TokenCall | undefined;
}

/** What follows from a failed refresh of one app. */
export class RefreshFailures {
  readonly #parts: RefreshParts;

  constructor(parts: RefreshParts) {
    this.#parts = parts;
  }

  /** Plans the next attempt where the keeper owes one. Returns the error for those who joined the refresh. */
  take(error: unknown, { cause, app, base, startedAt, asked }: FailedRefresh): LingpaiError {
    const { deps, timeline, coordinator, tokenHealth, owner, settings } = this.#parts;
    const { clock, observe, random } = deps;
    const now = timeline.elapsed();
    const known =
      error instanceof UpstreamError || error instanceof LingpaiError
        ? error
        : new LingpaiError('the refresh failed inside the broker', { reason: 'INTERNAL', cause: error });
    // A mint that is refused for its haste says nothing of WeChat: an operator's changes nothing that is planned, and of what
    // is owed a retry that is planned sooner stays.
    const isHaste = known.reason === 'COOLDOWN';
    const owed =
      !(isHaste && cause === 'operator') && (cause === 'scheduled' || !owner.hasGood() || owner.read().openMints > 0);
    const isRead = asked !== undefined && !isMint(asked);
    const failures = tokenHealth.failures + 1;
    const inARow = isRead ? Math.max(failures, tokenHealth.readFailed()) : failures;
    const { quotaResetHour, stablePollMs } = settings;
    const planned = nextAttemptAt(known, {
      now,
      startedAt,
      failures: inARow,
      random,
      wallNow: clock.now(),
      quotaResetHour,
    });
    const facts = { record: owner.read(), trust: tokenHealth.trust, issuer: app.issuer };
    const isSame = app === owner.app();
    if (isSame && known instanceof UpstreamError) this.#remember(known, asked, planned);
    const retryAt = isSame ? retryAtLatest(facts, { error: known, isRead }, planned, now, stablePollMs) : now;
    if (owed && !(isHaste && tokenHealth.isRetriedBy(retryAt, now))) {
      tokenHealth.fail(known, retryAt);
      coordinator.tellTrouble(base, known, failures, retryAt);
    }
    const { health } = tokenHealth;
    const retryInMs = owed && health.kind === 'failing' ? health.retryAt - now : null;
    observe({ type: 'refresh_failed', appId: app.appId, cause, durationMs: now - startedAt, error: known, retryInMs });
    return callersError(known, app.appId, retryAt - now);
  }

  /** What WeChat refuses now it refuses for a while: neither reports nor looks have it asked again sooner. */
  #remember(error: UpstreamError, asked: TokenCall | undefined, until: number): void {
    const { tokenHealth, owner } = this.#parts;
    if (asked === undefined) return;
    if (isForced(asked)) tokenHealth.refuseForce(error, until);
    if (isMint(asked)) return;
    tokenHealth.readRefused(error, until);
    const suspicion = tokenHealth.suspicion(owner.read().generation);
    if (suspicion) suspicion.lookAt = Math.max(suspicion.lookAt, until);
  }
}
