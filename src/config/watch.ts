import { stat } from 'node:fs/promises';
import type { Clock, Timer } from '../core/kernel/clock.ts';

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
    forget();
    if (disposed) return;
    timer = clock.schedule(intervalMs, () => void look());
    if (changed) onChange();
  }
  void look();

  /** Looks at paths that are new before the next look, or what changes until then would never be noticed. */
  async function greet(): Promise<void> {
    for (const path of paths) {
      if (seen.has(path)) continue;
      const print = await fingerprint(path);
      if (!seen.has(path)) seen.set(path, print);
    }
    forget();
  }

  function forget(): void {
    const named = new Set(paths);
    for (const path of seen.keys()) if (!named.has(path)) seen.delete(path);
  }

  return {
    setPaths(next) {
      paths = next;
      forget();
      void greet();
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
