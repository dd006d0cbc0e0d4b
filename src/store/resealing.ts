import { SealedError } from './errors.ts';
import { type Keyring, keyOf, PLAIN } from './keyring.ts';
import type { RawRecord, RawRecords } from './raw-records.ts';

/** Keys that are not held: what they are called is up to whoever can write to the store. */
const OTHER = 'other';

/** What a pass over the records found and did. */
export interface Pass {
  /** The id of the key that seals, or `plain`. */
  readonly key: string;
  /** How many records there are now, by the id of the key that seals them or `plain`. Every key that is held is there; `other`: all the rest. */
  readonly records: ReadonlyMap<string, number>;
  /** How many were sealed anew. */
  readonly resealed: number;
  /** What became of older copies of them; undefined: not all are sealed by the first key, or the store does not say. */
  readonly scrub: 'scrubbed' | 'clean' | 'later' | undefined;
}

/** How records are sealed. */
export interface Sealing {
  /**
   * Looks at every record once, in slices with a `pause` between, and seals by the first key what another held key has sealed. Where
   * the first is `plain` it takes no seal away: that is also what a replica finds which is a step behind. It overwrites nothing that was changed meanwhile, so any number of replicas may do so at once.
   */
  reseal(pause: () => Promise<void>): Promise<Pass>;
  /** The apps of which no held key opens a record, their own or a ticket's, though some key has sealed it; sorted. */
  sealedAway(): Promise<readonly string[]>;
  /** Removes the records of these apps where still no held key opens them. Resolves with the apps of which it has removed some. */
  forget(appIds: readonly string[]): Promise<readonly string[]>;
}

/** The sealing of these records by this keyring. `name` is what errors call the store. */
export function sealingOf(raw: RawRecords, keyring: Keyring, name: string): Sealing {
  const opened = ({ appId, text, ticket }: RawRecord): string | undefined => {
    try {
      return keyring.open(appId, text, name, ticket);
    } catch (error) {
      if (error instanceof SealedError) return undefined;
      throw error;
    }
  };
  const isAway = (record: RawRecord) => keyOf(record.text) !== PLAIN && opened(record) === undefined;

  return {
    async reseal(pause) {
      const { sealing } = keyring;
      const records = new Map(keyring.held.map((key) => [key, 0]));
      let resealed = 0;
      let total = 0;
      for await (const page of raw.pages()) {
        const keys = page.map(async (record) => {
          const { appId, text, ticket } = record;
          const key = keyOf(text);
          const plaintext = key === sealing || sealing === PLAIN ? undefined : opened(record);
          if (plaintext === undefined || !(await raw.swap(record, keyring.seal(appId, plaintext, ticket)))) return key;
          resealed++;
          return sealing;
        });
        for (const found of await Promise.all(keys)) {
          const key = records.has(found) ? found : OTHER;
          records.set(key, (records.get(key) ?? 0) + 1);
        }
        total += page.length;
        await pause();
      }
      const isDone = sealing !== PLAIN && records.get(sealing) === total;
      return { key: sealing, records, resealed, scrub: isDone ? await raw.scrub?.(sealing) : undefined };
    },

    async sealedAway() {
      const away = new Set<string>();
      for await (const page of raw.pages()) for (const record of page) if (isAway(record)) away.add(record.appId);
      return [...away].toSorted();
    },

    async forget(appIds) {
      const wanted = new Set(appIds);
      const removed = new Set<string>();
      for await (const page of raw.pages()) {
        for (const record of page) {
          if (!wanted.has(record.appId) || !isAway(record)) continue;
          if (await raw.remove(record)) removed.add(record.appId);
        }
      }
      return [...removed];
    },
  };
}
