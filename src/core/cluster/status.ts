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
  /** The app's how-manieth mint it is. */
  readonly epoch: number;
  readonly ageMs: number;
  /** `lease`: its replica lives, and no other may mint meanwhile. `open`: nobody knows what became of it. */
  readonly kind: 'lease' | 'open';
}

/** How replicas share one app. */
export interface AppShare {
  readonly appId: string;
  /** The replica that refreshes the app on schedule. */
  readonly owner: string;
  readonly epoch: number;
  readonly intents: readonly IntentStatus[];
  /** When the confirming mint is due that is owed, in wall-clock milliseconds; null: none is. */
  readonly owedTime: number | null;
  /** Whether something is in this replica's memory that the store does not have yet. */
  readonly unsaved: boolean;
}

/** How this replica sees its cluster. */
export interface ClusterStatus {
  readonly replica: string;
  /** Whether the last poll of the store succeeded. */
  readonly storeAvailable: boolean;
  /** Since the last poll that succeeded, in milliseconds. */
  readonly storeAgeMs: number;
  readonly replicas: readonly ReplicaStatus[];
  readonly apps: readonly AppShare[];
  /** Compare-and-sets that this replica lost to another since it started. */
  readonly lostSets: number;
}
