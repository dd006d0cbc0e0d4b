import type { PermitKind } from '../core/messages/ports.ts';

/** One right to send, as every store can keep it. Times are wall-clock milliseconds. */
export interface PermitRow {
  readonly row: 'permit';
  readonly appId: string;
  readonly kind: PermitKind;
  readonly value: string;
  /** Empty: nobody deposited it; a message used it, and it is known as doubtful. */
  readonly toUser: string;
  readonly templateId: string;
  readonly collectTime: number;
  /** Null: never. */
  readonly expireTime: number | null;
  /** Messages that it is still good for, those that sends hold included. */
  readonly uses: number;
  /** A message of unknown fate may have used it. */
  readonly doubtful: boolean;
}

/** One message whose idempotency key is kept. */
export interface SendRow {
  readonly row: 'send';
  readonly sendId: string;
  readonly appId: string;
  readonly key: string;
  readonly keyExpireTime: number;
  readonly digest: string;
  readonly startTime: number;
  readonly quotaDay: number;
  /** The permit that is reserved for it. */
  readonly permit: { readonly kind: PermitKind; readonly value: string } | null;
  /** As `encodeOutcome` writes it. */
  readonly outcome: string;
}

/** How many messages an app has sent on a day. */
export interface QuotaRow {
  readonly row: 'quota';
  readonly appId: string;
  readonly day: number;
  readonly sends: number;
}

/** What a ledger keeps. */
export type Row = PermitRow | SendRow | QuotaRow;

/** What a process that may use a store shows of itself. */
export interface User {
  /** Changes while it lives. */
  readonly sign: string;
  /** The pause between two changes, in milliseconds. */
  readonly pauseMs: number;
}

/**
 * A ledger that can be copied. What two ledgers have of the same thing can be joined in any order and any number of times: of
 * a permit the more used one stays, of a message the one whose fate is known, of a count the greater.
 */
export interface Rows {
  /**
   * All that is kept, in batches, permits before the sends that hold them, as it is once every process that used it has
   * died: what was begun is of unknown fate, and where nobody has a key to it only its permit is left, which is doubtful.
   * Something may come twice. Rejects with a StoreError.
   */
  dump(): AsyncIterable<readonly Row[]>;
  /** Adds what is missing and joins what is there; says how many rows that changed. Atomic for each row. */
  restore(rows: readonly Row[]): Promise<number>;
  /** What shows who uses the store, by the names of processes. Empty where nobody else can, because it is locked. */
  users(): Promise<ReadonlyMap<string, User>>;
}

/**
 * A permit as it is once what two ledgers have of it is joined: the more used of the two, and doubtful where either is. Undefined:
 * as it is `there` already.
 */
export function joinPermits(there: PermitRow | undefined, row: PermitRow): PermitRow | undefined {
  if (!there) return row;
  const isMoreUsed = row.toUser !== '' && (there.toUser === '' || row.uses < there.uses);
  const doubtful = row.doubtful || there.doubtful;
  if (!isMoreUsed && doubtful === there.doubtful) return undefined;
  return { ...(isMoreUsed ? row : there), doubtful };
}
