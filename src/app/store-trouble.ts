import type { Logger } from '../ops/log.ts';
import type { FileTrouble } from '../store/database-file.ts';

const MEANING: Readonly<Record<FileTrouble, string>> = {
  deleted: 'what the broker writes is lost when it ends; restart it, and it makes a new file',
  replaced: 'the broker writes on into the file that was there before; restart it to use the new one',
  'open to group or others': 'it holds tokens; chmod 600 it',
};

/** Returns what logs, each time that it is called, whatever has changed about the file of the store since the time before. */
export function storeTroubleLog(
  { store, trouble }: { readonly store: string; readonly trouble: () => Promise<FileTrouble | undefined> },
  logger: Logger,
): () => Promise<void> {
  let before: FileTrouble | undefined;
  return async () => {
    const now = await trouble();
    if (now === before) return;
    before = now;
    if (now === undefined) logger.info({ store }, 'store file is in order again');
    else {
      const level = now === 'open to group or others' ? 'warn' : 'error';
      logger[level]({ store, trouble: now, advice: MEANING[now] }, 'store file was tampered with');
    }
  };
}
