import type { AppRecord } from '../tokens/app-record.ts';
import type { MintCall } from '../tokens/issuers.ts';
import { mintUndone } from '../tokens/minting.ts';
import type { Intent, PendingConfirmation, Settings } from '../tokens/ports.ts';
import type { MintEnd } from '../tokens/record-change.ts';
import { mintWindowMs } from './mint-window.ts';
import { sharedOf, withShared } from './shared-part.ts';

/**
 * How long a mint of a replica that lives can take: its intent is stored in time or given up, it calls WeChat, and stands still
 * for less than a lease. A replica whose mint takes longer cannot tell what became of it: its writes fail, though its beats arrive.
 */
export function longestMintMs({ timeoutMs, overlapMs }: Settings, leaseMs: number): number {
  return Math.min(leaseMs + 2 * timeoutMs, mintWindowMs(overlapMs));
}

/** The unexpired intent of a live replica. It blocks other mints. */
export function blockingIntent(
  record: AppRecord,
  isOther: (replica: string) => boolean,
  time: number,
  longestMs: number,
): Intent | undefined {
  return sharedOf(record).intents.find(
    // A clock that was set may date it in the future.
    (intent) => !intent.orphaned && isOther(intent.replica) && Math.abs(time - intent.time) < longestMs,
  );
}

/** The replicas that began a mint between two versions of a record: they live, though others may see no beat of them yet. */
export function minters(before: AppRecord, after: AppRecord): string[] {
  const { epoch } = sharedOf(before);
  const begun = sharedOf(after).intents.filter((intent) => intent.epoch > epoch && !intent.orphaned);
  return begun.map(({ replica }) => replica);
}

/** Records the intent of a mint. One of this replica that is still there came back with an older state of the store. */
export function intend(record: AppRecord, replica: string, time: number): { record: AppRecord; intent: Intent } {
  const shared = sharedOf(record);
  const epoch = shared.epoch + 1;
  const intent: Intent = { epoch, replica, time, orphaned: false };
  const open = shared.intents.map((other) => (other.replica === replica ? { ...other, orphaned: true } : other));
  return { record: withShared(record, { epoch, intents: [...open, intent] }), intent };
}

/**
 * Takes an intent out, or marks it as orphaned. Where it was the last that a pending confirmation waited for, that is due now.
 * An intent that others have dropped, and that is orphaned only now since its process stood still, may arrive from now on.
 */
export function conclude(
  record: AppRecord,
  intent: Intent,
  call: MintCall,
  how: MintEnd,
  { time, overlapMs }: { readonly time: number; readonly overlapMs: number },
): AppRecord {
  const shared = sharedOf(record);
  if (!shared.intents.some((other) => isSameMint(other, intent))) {
    if (how !== 'lost') return record;
    // A store that was emptied meanwhile counts from the beginning: what is asked from now on is asked after this one.
    const epoch = Math.max(shared.epoch, intent.epoch) + 1;
    const pendingConfirmation = { epoch, time: time + mintWindowMs(overlapMs) };
    return withShared(record, {
      epoch,
      intents: [...shared.intents, { ...intent, time, orphaned: true }],
      pendingConfirmation,
    });
  }
  if (how === 'lost') {
    const intents = shared.intents.map((other) => (isSameMint(other, intent) ? { ...other, orphaned: true } : other));
    return withShared(record, { intents });
  }
  const intents = shared.intents.filter((other) => !isSameMint(other, intent));
  const pendingConfirmation = shared.pendingConfirmation && hasten(shared.pendingConfirmation, intents, time);
  return withShared(how === 'undone' ? mintUndone(record, call) : record, { intents, pendingConfirmation });
}

/** Whether these are one mint. */
export function isSameMint(a: Intent, b: Intent | undefined): boolean {
  return a.epoch === b?.epoch && a.replica === b.replica;
}

function hasten(
  pendingConfirmation: PendingConfirmation,
  intents: readonly Intent[],
  time: number,
): PendingConfirmation {
  return intents.length > 0
    ? pendingConfirmation
    : { ...pendingConfirmation, time: Math.min(pendingConfirmation.time, time) };
}
