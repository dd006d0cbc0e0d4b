import type { Ledger } from '../core/messages/ports.ts';
import type { Logger } from '../ops/log.ts';
import type { Metrics } from '../ops/metrics.ts';
import { startPurge, startResealing, startSweep, type Task } from '../ops/tasks.ts';
import type { Opened } from '../store/open.ts';
import type { Core } from './core.ts';
import { resealing } from './resealing.ts';
import { storeTroubleLog } from './store-trouble.ts';

/** What is done again and again is done with these. */
export interface TaskParts {
  readonly core: Pick<Core, 'registry' | 'tickets' | 'clock'>;
  readonly store: Pick<Opened, 'file' | 'sealing'> & { readonly ledger: Pick<Ledger, 'purge'> };
  readonly logger: Logger;
  readonly metrics: Pick<Metrics, 'storeRecords'>;
  /** Resolves when all else that is due has had its turn. */
  readonly pause: () => Promise<void>;
  readonly report: (error: unknown) => void;
}

/**
 * Begins to look twice a minute after timers and the store's file, every five minutes after how its records are sealed, and to
 * forget each night what has expired.
 */
export function startTasks({ core, store, logger, metrics, pause, report }: TaskParts): Task {
  const { file, sealing, ledger } = store;
  const lookAtStore = file && storeTroubleLog({ store: file.path, trouble: file.trouble }, logger);
  const sweep = startSweep(() => {
    core.registry.sweep();
    core.tickets.sweep();
    lookAtStore?.().catch(report);
  }, report);
  const purge = startPurge({
    purge: () => ledger.purge(core.clock.now()),
    onDone: (purged) => logger.info(purged, 'expired keys and permits forgotten'),
    onError: report,
  });
  const seals = startResealing(resealing({ sealing, logger, metrics, pause }), report);
  return {
    stop() {
      sweep.stop();
      purge.stop();
      seals.stop();
    },
  };
}
