import { CLOCKS_AGREE_MS } from '../kernel/clock.ts';
import { type AppRecord, sameToken } from '../tokens/app-record.ts';
import { joinBudgets } from '../tokens/budget.ts';
import { type CommitContext, commit } from '../tokens/commit.ts';
import type { CommitResult, MintEnd } from '../tokens/coordinator.ts';
import type { Issued } from '../tokens/issuing.ts';
import { type MintCall, mintUndone } from '../tokens/minting.ts';
import type { Intent, PendingConfirmation, Settings, SharedPart } from '../tokens/ports.ts';

// WeChat cannot be fenced. A replica that stopped after it recorded an intent may have its request arrive at any later time,
// and then the token that it mints is the newest, whatever the store says. So nobody waits for it, and nobody believes that
// the order of commits is the order of mints: a commit that another mint may have overlapped is provisional, and one more
// mint, alone, settles which token is the newest, while WeChat still honours both that might be.

/** The share of the overlap after which all is settled: 200 s of 5 minutes, and so with a minute and a half to spare. */
const SETTLED_AFTER = 2 / 3;

/**
 * How long after a mint whose order is not known the confirming one is made, unless all is known sooner: inside the overlap,
 * during which WeChat honours both. An intent that is older overlaps nothing any more: should its request still arrive, its
 * replica says so, or the canary notices.
 */
export function settledMs(overlapMs: number): number {
  return overlapMs * SETTLED_AFTER;
}

/** The clocks of two replicas differ by a little: a mint that is due when all is settled is not to come a moment before. */
const NEARLY = 0.995;

/** A read costs nothing: a forced refresh whose fate is unknown is looked for at each settling, for so many overlaps. */
const READ_FOR_OVERLAPS = 12;

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

/**
 * How long a mint of a replica that lives can take: its intent is stored in time or given up, it calls WeChat, and stands still
 * for less than a lease. One that takes longer cannot tell what became of it: its writes fail, though its beats arrive.
 */
export function longestMintMs({ timeoutMs, overlapMs }: Settings, leaseMs: number): number {
  return Math.min(leaseMs + 2 * timeoutMs, settledMs(overlapMs));
}

/** Another replica's mint that is under way, while which nobody else may mint: its lease. */
export function blockingIntent(
  record: AppRecord,
  isOther: (replica: string) => boolean,
  time: number,
  longestMs: number,
): Intent | undefined {
  return sharedOf(record).intents.find(
    // By a clock that was set it may look younger than it can be.
    (intent) => !intent.lost && isOther(intent.replica) && Math.abs(time - intent.time) < longestMs,
  );
}

/** Who has begun a mint between two contents of a record: they live, though others gave them up and see no beat yet. */
export function minters(before: AppRecord, after: AppRecord): string[] {
  const { epoch } = sharedOf(before);
  const begun = sharedOf(after).intents.filter((intent) => intent.epoch > epoch && !intent.lost);
  return begun.map(({ replica }) => replica);
}

/** Records the intent of a mint. One of this replica that is still there came back with an older state of the store. */
export function intend(record: AppRecord, replica: string, time: number): { record: AppRecord; intent: Intent } {
  const shared = sharedOf(record);
  const epoch = shared.epoch + 1;
  const intent: Intent = { epoch, replica, time, lost: false };
  const open = shared.intents.map((other) => (other.replica === replica ? { ...other, lost: true } : other));
  return { record: withShared(record, { epoch, intents: [...open, intent] }), intent };
}

/**
 * Takes an intent out, or marks it as lost. Where it was the last that a debt waited for, that is due now. One that others
 * took for settled and that was lost only now, since its process stood still, may arrive from now on.
 */
export function conclude(
  record: AppRecord,
  intent: Intent,
  call: MintCall,
  how: MintEnd,
  { time, overlapMs }: { readonly time: number; readonly overlapMs: number },
): AppRecord {
  const shared = sharedOf(record);
  if (!shared.intents.some((other) => isSame(other, intent))) {
    if (how !== 'lost') return record;
    // A store that was emptied meanwhile counts from the beginning: what is asked from now on is asked after this one.
    const epoch = Math.max(shared.epoch, intent.epoch) + 1;
    const pendingConfirmation = { epoch, time: time + settledMs(overlapMs) };
    return withShared(record, {
      epoch,
      intents: [...shared.intents, { ...intent, time, lost: true }],
      pendingConfirmation,
    });
  }
  if (how === 'lost') {
    const lost = shared.intents.map((other) => (isSame(other, intent) ? { ...other, lost: true } : other));
    return withShared(record, { intents: lost });
  }
  const intents = shared.intents.filter((other) => !isSame(other, intent));
  const pendingConfirmation = shared.pendingConfirmation && hasten(shared.pendingConfirmation, intents, time);
  return withShared(how === 'undone' ? mintUndone(record, call) : record, { intents, pendingConfirmation });
}

/** What a commit needs to know beside its answer. */
export interface Flown {
  /** The generation when the flight began. */
  readonly base: number;
  /** The mint that brought the answer; undefined: a read did. */
  readonly intent: Intent | undefined;
  /** By the store's clock: when the mint or read was begun, and now. */
  readonly sentTime: number;
  readonly time: number;
  /** When WeChat's answer arrived. */
  readonly answeredTime: number;
  /** When the current token's request left; undefined: there is none. */
  readonly currentTime: number | undefined;
  /** How long WeChat honours the token before the current one. */
  readonly overlapMs: number;
}

/** What is kept after an answer of WeChat, which may come when others have refreshed the app already. */
export function land(
  record: AppRecord,
  issued: Issued,
  context: CommitContext,
  flown: Flown,
): { record: AppRecord; result: CommitResult } {
  const shared = sharedOf(record);
  const { current } = record;
  const others = shared.intents.filter((other) => !isSame(other, flown.intent));
  const after = context.issuer === 'classic' ? afterMint(shared, others, flown) : afterRead(shared, others, flown);
  if (issued.value === current?.value) {
    const { record: same } = commit(record, issued, context);
    const rest = context.issuer === 'classic' ? { intents: others } : after;
    return { record: withShared(same, { ...rest, dead: shared.dead, trouble: null }), result: 'unchanged' };
  }
  const isMoved = record.generation !== flown.base;
  if (isMoved && current && current.expiresAt > context.now) {
    // Which of the two is newer nobody knows, unless it was only read.
    const due = others.length > 0 ? (shared.pendingConfirmation?.time ?? flown.time) : flown.time;
    // A write whose answer was lost may have recorded it before.
    const isRecorded = record.previous?.value === issued.value;
    const isOlder = flown.answeredTime + CLOCKS_AGREE_MS < (flown.currentTime ?? 0);
    // A mint that began when this answer was here is newer, and pays when it lands.
    const epoch = Math.max(
      shared.pendingConfirmation?.epoch ?? 0,
      Math.min(issued.seenEpoch ?? shared.epoch, shared.epoch),
    );
    const pendingConfirmation =
      flown.intent && !isRecorded && !isOlder ? { epoch, time: due } : shared.pendingConfirmation;
    // Ours may have come between the current token and the one before.
    const previous = isRecorded ? record.previous : null;
    return {
      record: withShared({ ...record, previous }, { intents: others, pendingConfirmation }),
      result: 'superseded',
    };
  }
  // Where another mint may have come between, WeChat need not honour what is replaced.
  const isDirect = issued.intent === undefined || issued.mintedAt !== undefined;
  const isAlone =
    isDirect && others.length === 0 && after.pendingConfirmation === null && shared.pendingConfirmation === null;
  const openMints = isAlone ? Number(issued.mintedAt !== undefined) : 2;
  const { record: next, rotated } = commit({ ...record, openMints }, issued, context);
  const warning = context.isQuiet ? '' : shared.warning;
  const told = rotated ? { dead: false, warning, commitTime: flown.time } : {};
  return { record: withShared(next, { ...after, ...told, trouble: null }), result: rotated ? 'rotated' : 'unchanged' };
}

/** Intents and debt once a mint has landed: it is clean, and pays the debt, when no other can have overlapped it. */
function afterMint(
  shared: SharedPart,
  others: readonly Intent[],
  flown: Flown,
): Pick<SharedPart, 'intents' | 'pendingConfirmation'> {
  const { intent, sentTime, time: now, overlapMs } = flown;
  // Where the store was away, others may have begun long after ours was sent, and before ours is stored.
  const isOver = (other: Intent, at: number) => isSettled(other, at, overlapMs);
  const intents = others.filter((other) => !isOver(other, sentTime) || !isOver(other, now));
  const isThere = others.length < shared.intents.length;
  const isClean = isThere && intents.length === 0 && shared.epoch === intent?.epoch;
  if (!isClean) {
    const time = intents.length > 0 ? sentTime + settledMs(overlapMs) : flown.time;
    return { intents, pendingConfirmation: { epoch: shared.epoch, time } };
  }
  const isPaid = shared.pendingConfirmation === null || shared.pendingConfirmation.epoch < intent.epoch;
  return { intents, pendingConfirmation: isPaid ? null : shared.pendingConfirmation };
}

/** The same once a token was read, which shows the newest: only a mint that is still open can make a newer one. */
function afterRead(
  shared: SharedPart,
  others: readonly Intent[],
  flown: Flown,
): Pick<SharedPart, 'intents' | 'pendingConfirmation'> {
  const { sentTime, time: now, overlapMs } = flown;
  const isRecent = (other: Intent, at: number) => Math.abs(at - other.time) < READ_FOR_OVERLAPS * overlapMs;
  const intents = others.filter((other) => isRecent(other, sentTime) || isRecent(other, now));
  const time = sentTime + settledMs(overlapMs);
  return { intents, pendingConfirmation: intents.length > 0 ? { epoch: shared.epoch, time } : null };
}

/** A clock that was set may make it look younger than it can be. */
function isSettled(intent: Intent, time: number, overlapMs: number): boolean {
  return Math.abs(time - intent.time) >= settledMs(overlapMs) * NEARLY;
}

/** Whether a record is older than what is known: the store was emptied, or went back in time. */
export function isBehind(there: AppRecord, known: AppRecord): boolean {
  if (there.generation !== known.generation) return there.generation < known.generation;
  return sharedOf(there).epoch < sharedOf(known).epoch;
}

/** What is kept when a store comes back without it: the newer tokens, the sums of both, and the mints that either names. */
export function restored(known: AppRecord, there: AppRecord): AppRecord {
  const [ours, theirs] = [sharedOf(known), sharedOf(there)];
  const epoch = Math.max(ours.epoch, theirs.epoch);
  // Some were made without what is known here, others are over, and which is which nobody knows.
  const strange = theirs.intents.filter((intent) => !ours.intents.some((other) => isSame(other, intent)));
  const intents = [...ours.intents, ...strange.map((intent) => ({ ...intent, lost: true }))];
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

function hasten(
  pendingConfirmation: PendingConfirmation,
  intents: readonly Intent[],
  time: number,
): PendingConfirmation {
  return intents.length > 0
    ? pendingConfirmation
    : { ...pendingConfirmation, time: Math.min(pendingConfirmation.time, time) };
}

function isSame(a: Intent, b: Intent | undefined): boolean {
  return a.epoch === b?.epoch && a.replica === b.replica;
}
