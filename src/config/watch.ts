import { stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/clock.ts';

/** What a watch of files needs. */
export interface FileWatchOptions {
  /** Absolute paths: the config file and its secret files. They need not exist. */
  readonly paths: readonly string[];
  /** The pause between looks. Bounds how late a change is noticed; 2000 is a good one. */
  readonly intervalMs: number;
  readonly clock: Clock;
  /** Called once for all changes that one look finds. It must not throw. */
  readonly onChange: () => void;
  /** Text that differs when the file at `path` does. For tests. */
  readonly fingerprint?: (path: string) => Promise<string>;
}

/** Looks at files again and again. Its timer keeps the process open: dispose it at the end. */
export interface FileWatch extends Disposable {
  /** Watches these paths from now on, for instance after a reload that named other secret files. */
  setPaths(paths: readonly string[]): void;
}

/**
 * Calls back when a file changes, appears or goes. It looks instead of listening, because a ConfigMap is changed by
 * swapping a symbolic link further up, an editor by renaming: a listener on the file itself hears of neither.
 */
export function watchFiles(options: FileWatchOptions): FileWatch {
  const { intervalMs, clock, onChange, fingerprint = statFingerprint } = options;
  let paths = options.paths;
  let seen = new Map<string, string>();
  let timer: Timer | undefined;
  let disposed = false;

  async function look(): Promise<void> {
    const found = new Map<string, string>();
    for (const path of paths) found.set(path, await fingerprint(path));
    const changed = [...found].some(([path, print]) => seen.has(path) && seen.get(path) !== print);
    seen = found;
    if (disposed) return;
    timer = clock.schedule(intervalMs, () => void look());
    if (changed) onChange();
  }
  void look();

  return {
    setPaths(next) {
      paths = next;
    },
    [Symbol.dispose]() {
      disposed = true;
      timer?.cancel();
    },
  };
}

/** Follows symbolic links. The change time tells of a swap that kept size and modification time. */
async function statFingerprint(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
