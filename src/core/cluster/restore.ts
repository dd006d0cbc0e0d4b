import { type AppRecord, sameToken } from '../tokens/app-record.ts';
import { joinBudgets } from '../tokens/budget.ts';
import { isSameMint } from './intents.ts';
import { sharedOf, withShared } from './shared-part.ts';

/** Whether a record is older than what is known: the store was emptied, or went back in time. */
export function isBehind(there: AppRecord, known: AppRecord): boolean {
  if (there.generation !== known.generation) return there.generation < known.generation;
  return sharedOf(there).epoch < sharedOf(known).epoch;
}

/** The record when a store comes back without it: the newer tokens, the greater budgets, and the intents of both. */
export function restored(known: AppRecord, there: AppRecord): AppRecord {
  const [ours, theirs] = [sharedOf(known), sharedOf(there)];
  const epoch = Math.max(ours.epoch, theirs.epoch);
  // Some were made without what is known here, others are over, and which is which nobody knows.
  const strange = theirs.intents.filter((intent) => !ours.intents.some((other) => isSameMint(other, intent)));
  const intents = [...ours.intents, ...strange.map((intent) => ({ ...intent, orphaned: true }))];
  // By a clock that was set back, the token that WeChat made last may have the lower generation.
  const isOther = known.current && there.current && !sameToken(there.current, known.current);
  const isNewer = isOther && there.current.issuedAt > known.current.issuedAt;
  const pendingConfirmation = isNewer ? { epoch, time: theirs.commitTime } : ours.pendingConfirmation;
  const record = {
    ...known,
    budget: joinBudgets(known.budget, there.budget),
    lastMintAt: Math.max(known.lastMintAt, there.lastMintAt),
    lastForcedAt: Math.max(known.lastForcedAt, there.lastForcedAt),
  };
  return withShared(record, { epoch, intents, pendingConfirmation });
}
