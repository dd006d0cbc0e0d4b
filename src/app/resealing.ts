import type { AuditEvent } from '../core/access/ports.ts';
import { errorFields, type Logger } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import type { Pass, Sealing } from '../store/resealing.ts';

/** What looks after the sealing of records needs. */
export interface ResealingParts {
  readonly sealing: Sealing;
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'storeRecords'>;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
  /** Told of records that were sealed anew. */
  readonly record?: (event: AuditEvent & { readonly event: 'store.resealed' }) => void;
}

const SCRUBBED: Readonly<Record<NonNullable<Pass['scrub']>, string | undefined>> = {
  scrubbed: 'store file rewritten: it has no older copies of records',
  later: 'store file is large and is rewritten when the broker starts next: until then it has older copies of records',
  clean: undefined,
};

/** Returns what seals anew by the first key what another held key has sealed, and counts which key seals how many. Never rejects. */
export function resealing({ sealing, logger, metrics, pause, record }: ResealingParts): () => Promise<void> {
  let told: Pass['scrub'];
  return async () => {
    try {
      const { key, records, resealed, scrub } = await sealing.reseal(pause);
      metrics.storeRecords(records);
      if (resealed > 0) {
        logger.info({ key, records: resealed }, 'store records sealed anew');
        record?.({ event: 'store.resealed', keyId: key, count: resealed });
      }
      const words = scrub === told ? undefined : scrub && SCRUBBED[scrub];
      told = scrub;
      if (words) logger.info({ key }, words);
    } catch (error) {
      logger.warn(errorFields(error), 'store records could not be looked at for their seals');
    }
  };
}
