import { expect, it } from 'vitest';
import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import { emptyRecord } from '../../../src/core/tokens/app-record.ts';
import type { BrokerEvent, RefreshCause } from '../../../src/core/tokens/events.ts';
import { RefreshFailures } from '../../../src/core/tokens/refresh-failures.ts';
import { TokenHealth } from '../../../src/core/tokens/token-health.ts';
import { FakeClock } from '../../support/clock.ts';
import { SECOND } from '../../support/world.ts';

const NOW = 1_000_000;

/** A refresh of an app without a token that the cooldown refuses for 60 s, where a retry is planned in `plannedMs`. */
function refused(cause: RefreshCause, plannedMs: number | undefined) {
  const tokenHealth = new TokenHealth();
  const before = new LingpaiError('busy', { reason: 'UPSTREAM_BUSY' });
  if (plannedMs !== undefined) tokenHealth.fail(before, NOW + plannedMs);
  const events: BrokerEvent[] = [];
  const app = { appId: 'wxc', issuer: 'classic', secret: 's' } as const;
  const failures = new RefreshFailures({
    deps: { clock: new FakeClock(), random: () => 0, observe: (event: BrokerEvent) => events.push(event) },
    settings: { quotaResetHour: 0, stablePollMs: SECOND },
    timeline: { elapsed: () => NOW },
    coordinator: { tellTrouble: () => undefined },
    tokenHealth,
    owner: { app: () => app, read: () => emptyRecord('classic'), hasGood: () => false },
  } as never);
  const error = new LingpaiError('too soon', { reason: 'COOLDOWN', retryAfterMs: 60 * SECOND });
  failures.take(error, { cause, app, base: 0, startedAt: NOW, asked: 'classic' });
  const { health } = tokenHealth;
  return health.kind === 'failing' ? [health.error.reason, (health.retryAt - NOW) / SECOND] : [health.kind];
}

it.each<[string, RefreshCause, number | undefined, unknown[]]>([
  ['of an operator changes nothing', 'operator', undefined, ['well']],
  ['of an operator leaves what is planned', 'operator', 90 * SECOND, ['UPSTREAM_BUSY', 90]],
  ['of what is owed is planned', 'probe', undefined, ['COOLDOWN', 60]],
  ['of what is owed leaves a retry that is planned sooner', 'probe', 10 * SECOND, ['UPSTREAM_BUSY', 10]],
  ['of what is owed replaces one that is planned later', 'probe', 90 * SECOND, ['COOLDOWN', 60]],
  ['of what is owed replaces one that is over', 'probe', 0, ['COOLDOWN', 60]],
])('a refusal by the cooldown %s', (_, cause, plannedMs, expected) => {
  expect(refused(cause, plannedMs)).toEqual(expected);
});
