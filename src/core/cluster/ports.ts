import type { StoredApp } from '../tokens/ports.ts';

/** A record in a store that several replicas share. */
export interface VersionedRecord {
  readonly app: StoredApp;
  /** Names this content of the record: no other content of it, earlier or later, has the same. */
  readonly etag: string;
}

/** A record that is sealed by a key which this process does not hold: it is neither used nor replaced. */
export interface SealedRecord {
  readonly appId: string;
  readonly etag: string;
  /** Why it cannot be opened and what to do, in words for the operator. */
  readonly error: Error;
}

/** One broker process among those that share a store. */
export interface Member {
  /** Unique among all processes that ever were. */
  readonly replica: string;
  /** Changes with each poll: while it does, the replica lives. */
  readonly beat: number;
  /** Where it serves gRPC, as host:port, for people; empty while it is not known. */
  readonly address: string;
  /** The pause between its polls, in milliseconds: for those who look on from outside. A poll need not bring it. */
  readonly pollMs?: number;
}

/** Every answer of a store says when it was given. */
export interface Dated {
  /** The store's clock, in milliseconds since 1970: the one that all replicas go by. */
  readonly time: number;
}

/** What a poll brings. */
export interface Poll extends Dated {
  /** From where the next poll goes on. */
  readonly position: number;
  /** The records that changed since the position asked from; all of them where the store cannot tell. */
  readonly changed: readonly VersionedRecord[];
  /** Those among them that cannot be opened, and what is to be said of all of them; absent: none. */
  readonly sealed?: { readonly records: readonly SealedRecord[]; readonly error: Error };
  /** All replicas that were not removed, this one included. */
  readonly members: readonly Member[];
}

/** What a read brings. */
export interface Reading extends Dated {
  readonly records: readonly VersionedRecord[];
  /** Those that cannot be opened; absent: none. */
  readonly sealed?: readonly SealedRecord[];
}

/** The answer to a compare-and-set: `found` is what is there instead, null where there is none; `sealed` where it cannot be opened. */
export type Replaced = Dated &
  (
    | { readonly stored: true }
    | { readonly stored: false; readonly found: VersionedRecord | null; readonly sealed?: SealedRecord }
  );

/** What a shared store tells of by itself. Hints only: any may be missing, late, or there twice. */
export interface StoreListener {
  /** Another replica has changed the record of this app. */
  changed(appId: string): void;
  /** The connection was lost and is there again: it may be another server, an older state, or an empty one. */
  reconnected(): void;
}

/**
 * A store that several replicas share. Each call rejects when the store does not answer in time; it may have taken effect
 * all the same.
 */
export interface SharedStore {
  /** Shows that this replica lives, and asks what is new. Position 0, or one that the store has not reached: everything. */
  poll(self: Member, position: number): Promise<Poll>;
  /** The records of these apps that there are. */
  read(appIds: readonly string[]): Promise<Reading>;
  /** Replaces a record, and gives it this etag, if its etag is `expected` (null: if there is no record). Atomic. */
  replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced>;
  /** Takes a replica out of the members. */
  remove(replica: string): Promise<void>;
  /** Has the listener told from now on, in place of the one before. */
  listen(listener: StoreListener): void;
  /** Releases what the store holds. No call follows. */
  close(): Promise<void>;
}
