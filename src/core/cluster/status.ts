import type { AppRecord } from '../tokens/app-record.ts';
import { blockingIntent } from './intents.ts';
import { ownerOf } from './rendezvous.ts';
import { sharedOf } from './shared-part.ts';

/** One replica as another sees it. */
export interface ReplicaStatus {
  readonly replica: string;
  readonly address: string;
  /** Whether it is the one that answers. */
  readonly self: boolean;
  readonly alive: boolean;
  /** For how long its beat has not changed, in milliseconds of the observer. */
  readonly silentMs: number;
}

/** A mint that was begun and of which no outcome is recorded. */
export interface IntentStatus {
  readonly replica: string;
  /** Which of the app's mint attempts it is; they are counted from 1. */
  readonly epoch: number;
  readonly ageMs: number;
  /** As in the proto. `lease`: its replica lives, and no other may mint meanwhile. `open`: nobody knows what became of it. */
  readonly kind: 'lease' | 'open';
}

/** How replicas share one app. */
export interface AppShare {
  readonly appId: string;
  /** The replica that refreshes the app on schedule. */
  readonly owner: string;
  readonly epoch: number;
  readonly intents: readonly IntentStatus[];
  /** When the confirming mint is due, in wall-clock milliseconds, as in the proto; null: none is. */
  readonly owedTime: number | null;
  /** Whether something is in this replica's memory that the store does not have yet. */
  readonly unsaved: boolean;
}

/** How this replica sees its cluster. */
export interface ClusterStatus {
  readonly replica: string;
  /** Whether the last poll of the store succeeded. */
  readonly storeAvailable: boolean;
  /** Why it did not, in words; empty: it did. */
  readonly storeTrouble: string;
  /** Since the last poll that succeeded, in milliseconds. */
  readonly storeAgeMs: number;
  readonly replicas: readonly ReplicaStatus[];
  readonly apps: readonly AppShare[];
  /** Compare-and-sets that this replica lost to another since it started. */
  readonly lostSets: number;
}

/** What the record of an app says of how it is shared, as a replica sees it. */
export function shareOf(
  appId: string,
  record: AppRecord,
  seen: {
    readonly living: readonly string[];
    readonly isAlive: (replica: string) => boolean;
    readonly now: number;
    readonly longestMintMs: number;
    readonly unsaved: boolean;
  },
): AppShare {
  const { living, isAlive, now, longestMintMs, unsaved } = seen;
  const { epoch, intents, pendingConfirmation, trouble } = sharedOf(record);
  const blocking = blockingIntent(record, isAlive, now, longestMintMs);
  return {
    appId,
    owner: ownerOf(appId, trouble?.failures ?? 0, living),
    epoch,
    intents: intents.map((intent) => ({
      replica: intent.replica,
      epoch: intent.epoch,
      ageMs: Math.max(0, now - intent.time),
      kind: intent === blocking ? 'lease' : 'open',
    })),
    owedTime: pendingConfirmation?.time ?? null,
    unsaved,
  };
}
