import type { Random } from '../kernel/clock.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, fromStored } from '../tokens/app-record.ts';
import type { Settings, StoredApp } from '../tokens/ports.ts';
import { dueAt } from '../tokens/schedule.ts';

/** The record as a replica that has `known` takes it from the store. `random` draws when a token that it had not seen is due. */
export function revive(
  stored: StoredApp,
  known: AppRecord,
  by: { readonly settings: Settings; readonly timeline: Timeline; readonly random: Random },
): AppRecord {
  const { settings, timeline, random } = by;
  const now = timeline.elapsed();
  const revived = fromStored(stored, now, timeline, (life) => dueAt(life, stored.issuer, settings, random()));
  // By a clock that was set back since, its grace would be longer than any is.
  const end = now + settings.overlapMs;
  const { previous } = revived;
  const record =
    previous && previous.expiresAt > end ? { ...revived, previous: { ...previous, expiresAt: end } } : revived;
  const { current } = known;
  if (!record.current || record.current.value !== current?.value || record.generation !== known.generation)
    return record;
  // The draws of a generation are made once.
  const { dueAt: due, answeredAt } = current;
  const grace = known.previous;
  // An older record may show it longer; it is over when it was once found to be.
  const previousNow =
    grace && record.previous
      ? { ...record.previous, expiresAt: Math.min(grace.expiresAt, record.previous.expiresAt) }
      : null;
  return { ...record, previous: previousNow, current: { ...record.current, dueAt: due, answeredAt } };
}
