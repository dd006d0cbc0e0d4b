import type { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { AppRecord } from './app-record.ts';
import type { MintCall } from './issuers.ts';
import type { MintWish } from './minting.ts';
import type { App, Intent, StoredApp } from './ports.ts';
import type { Land, LandResult, MintEnd, RecordChange } from './record-change.ts';

/** Callbacks by which a coordinator reads and updates its keeper. */
export interface KeptRecord {
  read(): AppRecord;
  /** Takes what is stored into use. */
  take(record: AppRecord): void;
  /** What callers see may have changed. */
  onChange(): void;
}

/** What became of an answer of WeChat, and the generation that it has where it is in use. */
export interface Landed {
  readonly result: LandResult;
  readonly generation: number;
}

/** How a keeper changes its app's record and makes its mints: alone, or together with other replicas. */
export interface Coordinator {
  /** Whether something is in memory only, because the store refuses it. */
  readonly failing: boolean;
  /** Whether the store has a record that no key here opens: it is neither used nor written over, and no mint begins. */
  readonly isSealed: boolean;
  /** The app's record as other replicas have stored it. */
  known(): AppRecord | undefined;
  /** Takes what other replicas have stored by now into use. Resolves with false when the store does not answer. */
  sync(): Promise<boolean>;
  /** The last generation that this process brought; 0: none. It is set before the keeper takes the record. */
  readonly ownGeneration: number;
  /** Stores a change and has the keeper take it, also where it cannot be stored yet: the write is then repeated. */
  change(change: RecordChange): Promise<void>;
  /** Stores a change and has the keeper take it. Rejects when it cannot be stored, and nothing has changed. */
  store(change: RecordChange): Promise<void>;
  /**
   * Records that a mint is about to be made. Rejects with LingpaiError where it may not be, with Superseded when the
   * generation is no longer `base`, and with the signal's reason.
   */
  begin(wish: MintWish, base: number, signal: AbortSignal): Promise<Intent | undefined>;
  /** Records that WeChat certainly did not mint (`undone`), that nobody knows (`lost`), or that the token is dead (`outlived`). */
  end(mint: Intent | undefined, call: MintCall, how: MintEnd): Promise<void>;
  /** Whether another replica is minting. */
  isBusy(record: AppRecord): boolean;
  /** Takes an answer of WeChat into use, and stores it, as `change` does. */
  land(landing: Omit<Land, 'type' | 'generationStep'>): Promise<Landed>;
  /** By how much a new generation exceeds the last. It is drawn: replicas cut off from each other must not choose the same. */
  generationStep(): number;
  /** When the token must be asked for because of mints of unknown outcome, in elapsed milliseconds; Infinity: never. */
  confirmationDueAt(record: AppRecord): number;
  /** How long this replica waits with what is due; 0: it is its turn. */
  standbyDelayMs(record: AppRecord): number;
  /** Tells other replicas that WeChat refuses the token of this generation. */
  tellDead(generation: number, warning: string): void;
  /** Tells other replicas of a failed refresh of this generation, which is tried again at `retryAt`. */
  tellTrouble(generation: number, error: UpstreamError | LingpaiError, failures: number, retryAt: number): void;
  /** The keeper gives the app up. No call follows. */
  release(): void;
}

/** What coordinators may have the registry do. */
export interface Keepers {
  /** A clock may have been set: every keeper takes note. */
  catchUp(): void;
  /** Every keeper looks whether something is due now. */
  tick(): void;
}

/** Makes a coordinator for each app, and owns what they have in common. */
export interface Coordinators {
  /** Whether other replicas use the same records. */
  readonly isShared: boolean;
  /** Begins, and returns the records that are not known to the coordinators themselves. Rejects when the store cannot be read. */
  start(keepers: Keepers): Promise<readonly StoredApp[]>;
  create(app: App, kept: KeptRecord): Coordinator;
  /** Stores what is not stored yet, once more. Nothing follows. */
  close(): Promise<void>;
}
