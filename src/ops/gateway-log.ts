import type { Clock } from '../core/kernel/clock.ts';
import { RateLimiter } from '../core/kernel/rate-limiter.ts';
import type { Logger } from './log.ts';

/** A call of the gateway that WeChat did not answer, or not whole. */
export interface FailedCall {
  /** An app that is configured. */
  readonly appId: string;
  /** Out of a closed list. */
  readonly path: string;
  /** Why, in words without secrets. */
  readonly reason: string;
}

/** One line an app in so long: where WeChat is away, every call fails. */
const EVERY_MS = 10_000;

/** Writes why calls failed, and how many of an app were passed over since its line before. */
export function createGatewayLog(logger: Logger, clock: Clock): (call: FailedCall) => void {
  const ofApps = new Map<string, { readonly limiter: RateLimiter; passedOver: number }>();
  return ({ appId, path, reason }) => {
    const known = ofApps.get(appId);
    const app = known ?? { limiter: new RateLimiter({ everyMs: EVERY_MS, earlyMs: 0 }), passedOver: 0 };
    if (!known) ofApps.set(appId, app);
    if (app.limiter.take(clock.monotonic()) > 0) {
      app.passedOver++;
      return;
    }
    logger.warn({ app_id: appId, path, reason, passed_over: app.passedOver }, 'gateway call failed');
    app.passedOver = 0;
  };
}
