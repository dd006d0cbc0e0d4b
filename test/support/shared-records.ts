import { withShared } from '../../src/core/cluster/shared-part.ts';
import { type AppRecord, emptyRecord } from '../../src/core/tokens/app-record.ts';
import type { Intent } from '../../src/core/tokens/ports.ts';
import { WALL } from './records.ts';
import { MINUTE } from './world.ts';

/** A mint that a replica began ten minutes before the moment of `records.ts`. */
export function intent(epoch: number, replica: string, orphaned = false): Intent {
  return { epoch, replica, time: WALL - 10 * MINUTE, orphaned };
}

/** A record with these mints of unknown outcome. */
export function recordWith(generation: number, epoch: number, ...intents: Intent[]): AppRecord {
  return withShared({ ...emptyRecord('classic'), generation }, { epoch, intents });
}

/** The same with a token whose request left at this elapsed moment. */
export function holding(record: AppRecord, value: string, issuedAt: number): AppRecord {
  const current = { value, id: value, issuedAt, expiresAt: issuedAt + 1e7, answeredAt: issuedAt + 50, dueAt: 1e6 };
  return { ...record, current };
}
