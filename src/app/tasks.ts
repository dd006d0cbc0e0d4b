import type { Ledger } from '../core/messages/ports.ts';
import type { Logger } from '../ops/log.ts';
import { startPurge, startSweep, type Task } from '../ops/tasks.ts';
import type { Opened } from '../store/open.ts';
import type { Core } from './core.ts';
import { storeTroubleLog } from './store-trouble.ts';

/** What is done again and again is done with these. */
export interface TaskParts {
  readonly core: Pick<Core, 'registry' | 'clock'>;
  readonly store: Pick<Opened, 'file'> & { readonly ledger: Pick<Ledger, 'purge'> };
  readonly logger: Logger;
  readonly report: (error: unknown) => void;
}

/** Begins to look twice a minute after timers and the store's file, and to forget each night what has expired. */
export function startTasks({ core, store, logger, report }: TaskParts): Task {
  const { file, ledger } = store;
  const lookAtStore = file && storeTroubleLog({ store: file.path, trouble: file.trouble }, logger);
  const sweep = startSweep(() => {
    core.registry.sweep();
    lookAtStore?.().catch(report);
  }, report);
  const purge = startPurge({
    purge: () => ledger.purge(core.clock.now()),
    onDone: (purged) => logger.info(purged, 'expired keys and permits forgotten'),
    onError: report,
  });
  return {
    stop() {
      sweep.stop();
      purge.stop();
    },
  };
}
