import type { Line } from '../support/child.ts';

/** Where an attack is played. */
export interface Scene {
  /** The ports of the broker and of the simulated WeChat, as `host:port`. */
  readonly grpc: string;
  readonly http: string;
  readonly sandbox: string;
  /** What is opened goes in here: it is let go when all has been measured. */
  readonly held: AsyncDisposableStack;
  /** Where the broker's log lines are added as they come. */
  readonly log: readonly Line[];
  /** Notes a fault unless it is so; `words` say what ought to be. */
  check(isSo: boolean, words: string): void;
}

/** Sections of a configuration. */
export type Settings = Readonly<Record<string, object>> & { readonly apps?: readonly object[] };

/** Something that a stranger does to a broker, or a caller that has rights and goes beyond them. */
export interface Attack {
  readonly name: string;
  /** How many file descriptors the broker may have; default 1024. */
  readonly files?: number;
  /** Sections of its configuration, in place of what it has otherwise. */
  readonly settings?: Settings;
  /** Fills the store at this path, and the folder of the configuration, before the broker starts. */
  readonly fill?: (path: string, folder: string) => Promise<void>;
  /** Starts what the broker is to talk to, before it starts itself. Resolves with the sections that name it, in place of those in `settings`. */
  readonly beside?: (held: AsyncDisposableStack) => Promise<Settings>;
  /** What the polite client has to show; without, nothing. */
  readonly key?: string;
  /** How long the broker has to let go of all of it, in milliseconds; default 15,000. */
  readonly settleMs?: number;
  /** Connections beyond its own may be refused to the polite client too: they are not looked at. */
  readonly isFull?: boolean;
  /** Plays it. Resolves at its height, with everything still open. */
  play(scene: Scene): Promise<void>;
}
