/** A record of an app or of a ticket as it is stored, sealed or not. */
export interface RawRecord {
  readonly appId: string;
  /** The type of the ticket that it is the record of; absent: it is the app's own. */
  readonly ticket?: string;
  /** All that is stored of it: by this a change knows that nobody else has changed it. */
  readonly stored: string;
  /** Of it what a key seals. */
  readonly text: string;
}

/** The records of apps and of tickets as they are stored, for whoever is about how they are sealed. */
export interface RawRecords {
  /** All of them, a few at a time. One that is changed meanwhile may be left out or come twice. */
  pages(): AsyncGenerator<readonly RawRecord[]>;
  /** Gives the record another text that says the same. Resolves with false where it is not as it was read any more. */
  swap(record: RawRecord, text: string): Promise<boolean>;
  /** Removes the record. Resolves with false where it is not as it was read any more. */
  remove(record: RawRecord): Promise<boolean>;
  /**
   * To be called when every record is sealed by this key, and nothing was written otherwise since: makes sure that the store
   * keeps no older copies. `later`: that would take too long while it is in use, and is done when it is opened next.
   * Undefined where a store cannot do so.
   */
  readonly scrub?: (key: string) => Promise<'scrubbed' | 'clean' | 'later'>;
}

/** How many records a page has at most: opening and sealing them takes about 2 ms. */
export const PAGE = 20;
