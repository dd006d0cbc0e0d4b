import { stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/kernel/clock.ts';

/** What a watch of files needs. */
export interface FileWatchOptions {
  readonly files: WatchedFiles;
  /** The pause between looks. Bounds how late a change is noticed; 2000 is a good one. */
  readonly intervalMs: number;
  readonly clock: Clock;
  /** Called once for all changes that one look finds. It must not throw. */
  readonly onChange: () => void;
  /** Text that differs when the file at `path` does. For tests. */
  readonly fingerprint?: (path: string) => Promise<string>;
}

/** The config file and those that it names, which need not exist. */
export interface WatchedFiles {
  /** Absolute. */
  readonly paths: readonly string[];
  /** What they were like before they were read, as `fingerprintOf` has it: what changed since is a change. */
  readonly prints: Readonly<Record<string, string>>;
}

/** Looks at files again and again. Its timer keeps the process open: dispose it at the end. */
export interface FileWatch extends Disposable {
  /** Watches these from now on, after they were read anew. */
  setFiles(files: WatchedFiles): void;
}

/**
 * Calls back when a file changes, appears or goes. It looks instead of listening, because a ConfigMap is changed by
 * swapping a symbolic link further up, an editor by renaming: a listener on the file itself hears of neither.
 */
export function watchFiles(options: FileWatchOptions): FileWatch {
  const { intervalMs, clock, onChange, fingerprint = fingerprintOf } = options;
  let paths: readonly string[] = [];
  const seen = new Map<string, string>();
  let timer: Timer | undefined;
  let disposed = false;

  async function look(): Promise<void> {
    let changed = false;
    for (const path of paths) {
      const print = await fingerprint(path);
      changed ||= (seen.get(path) ?? print) !== print;
      seen.set(path, print);
    }
    if (disposed) return;
    timer = clock.schedule(intervalMs, () => void look());
    if (changed) onChange();
  }

  function setFiles(files: WatchedFiles): void {
    paths = files.paths;
    seen.clear();
    for (const path of paths) {
      const print = files.prints[path];
      if (print !== undefined) seen.set(path, print);
    }
  }

  setFiles(options.files);
  void look();
  return {
    setFiles,
    [Symbol.dispose]() {
      disposed = true;
      timer?.cancel();
    },
  };
}

/**
 * Text that differs when the file at `path` does, links followed. The change time tells of a swap that kept size and modification
 * time.
 */
export async function fingerprintOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
