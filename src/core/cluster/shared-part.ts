import type { AppRecord } from '../tokens/app-record.ts';
import type { SharedPart } from '../tokens/ports.ts';

/** What is shared of an app that no replica has refreshed. */
export const NOTHING_SHARED: SharedPart = {
  commitTime: 0,
  epoch: 0,
  intents: [],
  pendingConfirmation: null,
  dead: false,
  warning: '',
  trouble: null,
};

/** What is shared of an app. */
export function sharedOf(record: AppRecord): SharedPart {
  return record.shared ?? NOTHING_SHARED;
}

/** The record with another shared part. */
export function withShared(record: AppRecord, change: Partial<SharedPart>): AppRecord {
  const shared = { ...sharedOf(record), ...change };
  return { ...record, shared, openMints: shared.intents.length };
}
