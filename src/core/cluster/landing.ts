import { CLOCKS_AGREE_MS } from '../kernel/clock.ts';
import type { AppRecord } from '../tokens/app-record.ts';
import { type CommitContext, commit } from '../tokens/commit.ts';
import { ISSUERS } from '../tokens/issuers.ts';
import type { Issued } from '../tokens/issuing.ts';
import type { Intent, SharedPart } from '../tokens/ports.ts';
import type { LandResult } from '../tokens/record-change.ts';
import { isSameMint } from './intents.ts';
import { isPastWindow, mintWindowMs } from './mint-window.ts';
import { sharedOf, withShared } from './shared-part.ts';

// WeChat cannot be fenced. A replica that stopped after it recorded an intent may have its request arrive at any later time,
// and then the token that it mints is the newest, whatever the store says. So nobody waits for it, and nobody believes that
// the order of commits is the order of mints: a commit that another mint may have overlapped is provisional, and one more
// mint, alone, decides which token is the newest, while WeChat still honours both that might be.

/** A read costs nothing: a forced refresh of unknown fate is looked for once in each mint window, for so many overlaps. */
const READ_FOR_OVERLAPS = 12;

/** What a commit needs to know beside its answer. */
export interface LandingContext {
  /** The generation when the refresh began. */
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

/** The record after an answer of WeChat, which may come when other replicas have refreshed the app already. */
export function land(
  record: AppRecord,
  issued: Issued,
  context: CommitContext,
  landing: LandingContext,
): { record: AppRecord; result: Exclude<LandResult, 'older'> } {
  const shared = sharedOf(record);
  const { current } = record;
  const others = shared.intents.filter((other) => !isSameMint(other, landing.intent));
  const { isReadable } = ISSUERS[context.issuer];
  const after = isReadable ? afterRead(shared, others, landing) : afterMint(shared, others, landing);
  if (issued.value === current?.value) {
    const { record: same } = commit(record, issued, context);
    const rest = isReadable ? after : { intents: others };
    return { record: withShared(same, { ...rest, dead: shared.dead, trouble: null }), result: 'unchanged' };
  }
  const isMoved = record.generation !== landing.base;
  if (isMoved && current && current.expiresAt > context.now) {
    // Which of the two is newer nobody knows, unless it was only read.
    const due = others.length > 0 ? (shared.pendingConfirmation?.time ?? landing.time) : landing.time;
    // A write whose answer was lost may have recorded it before.
    const isRecorded = record.previous?.value === issued.value;
    const isOlder = landing.answeredTime + CLOCKS_AGREE_MS < (landing.currentTime ?? 0);
    // A mint that began after this answer came is newer, and confirms when it lands.
    const epoch = Math.max(
      shared.pendingConfirmation?.epoch ?? 0,
      Math.min(issued.seenEpoch ?? shared.epoch, shared.epoch),
    );
    const pendingConfirmation =
      landing.intent && !isRecorded && !isOlder ? { epoch, time: due } : shared.pendingConfirmation;
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
  const { record: next, rotated } = commit(record, issued, { ...context, previousIsHonoured: isAlone });
  const warning = context.isQuiet ? '' : shared.warning;
  const told = rotated ? { dead: false, warning, commitTime: landing.time } : {};
  return { record: withShared(next, { ...after, ...told, trouble: null }), result: rotated ? 'rotated' : 'unchanged' };
}

/** Intents and pending confirmation once a mint has landed: where no other can have overlapped it, it is clean and confirms. */
function afterMint(
  shared: SharedPart,
  others: readonly Intent[],
  landing: LandingContext,
): Pick<SharedPart, 'intents' | 'pendingConfirmation'> {
  const { intent, sentTime, time: now, overlapMs } = landing;
  // Where the store was away, others may have begun long after ours was sent, and before ours is stored.
  const isOver = (other: Intent, at: number) => isPastWindow(other, at, overlapMs);
  const intents = others.filter((other) => !isOver(other, sentTime) || !isOver(other, now));
  const isThere = others.length < shared.intents.length;
  const isClean = isThere && intents.length === 0 && shared.epoch === intent?.epoch;
  if (!isClean) {
    const time = intents.length > 0 ? sentTime + mintWindowMs(overlapMs) : landing.time;
    return { intents, pendingConfirmation: { epoch: shared.epoch, time } };
  }
  const isConfirmed = shared.pendingConfirmation === null || shared.pendingConfirmation.epoch < intent.epoch;
  return { intents, pendingConfirmation: isConfirmed ? null : shared.pendingConfirmation };
}

/** The same once a token was read, which shows the newest: only a mint that is still open can make a newer one. */
function afterRead(
  shared: SharedPart,
  others: readonly Intent[],
  landing: LandingContext,
): Pick<SharedPart, 'intents' | 'pendingConfirmation'> {
  const { sentTime, time: now, overlapMs } = landing;
  const isRecent = (other: Intent, at: number) => Math.abs(at - other.time) < READ_FOR_OVERLAPS * overlapMs;
  const intents = others.filter((other) => isRecent(other, sentTime) || isRecent(other, now));
  const time = sentTime + mintWindowMs(overlapMs);
  return { intents, pendingConfirmation: intents.length > 0 ? { epoch: shared.epoch, time } : null };
}
