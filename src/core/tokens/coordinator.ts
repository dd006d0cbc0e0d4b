import type { LingpaiError, UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, toStored } from './app-record.ts';
import type { CommitContext } from './commit.ts';
import { commit } from './commit.ts';
import type { Issued } from './issuing.ts';
import { type MintCall, type MintWish, mintBegun, mintRefusal, mintUndone } from './minting.ts';
import type { Intent, Settings } from './ports.ts';
import type { RecordWriter } from './record-writer.ts';

/** A change of what is kept. It may be made again on a newer record; it throws to leave all as it is. */
export type Change = (record: AppRecord) => AppRecord;

/** What a keeper has on its side. */
export interface Holder {
  read(): AppRecord;
  /** Takes what is stored into use. */
  take(record: AppRecord): void;
  /** What callers see may have changed. */
  onChange(): void;
}

/** What became of an answer: `superseded` means that another replica has brought a token meanwhile. */
export type CommitResult = 'rotated' | 'unchanged' | 'superseded';

/** How a mint ends without a token in use. */
export type MintEnd = 'undone' | 'lost' | 'outlived';

/** Another replica has brought a newer token than the one that was to be replaced. */
export class Superseded extends Error {
  override readonly name = 'Superseded';
}

/** How a keeper holds its app: alone, or together with other replicas. */
export interface Coordinator {
  /** Whether something is in memory only, because the store refuses it. */
  readonly failing: boolean;
  /** What other replicas have stored of the app before. */
  known(): AppRecord | undefined;
  /** Resolves when what other replicas have stored by now is in use; false: the store does not answer. */
  sync(): Promise<boolean>;
  /**
   * Stores a change and has the holder take it. `must`: rejects when it cannot be stored, and nothing has changed. `may`:
   * it is then taken all the same, and the write is repeated.
   */
  change(change: Change, need: 'must' | 'may'): Promise<void>;
  /**
   * Records that a mint is about to be made. Rejects with LingpaiError where it may not be, with Superseded when the
   * generation is no longer `base`, and with the signal's reason.
   */
  begin(wish: MintWish, base: number, signal: AbortSignal): Promise<Intent | undefined>;
  /** Records that WeChat certainly did not mint (`undone`), that nobody knows (`lost`), or that the token is dead (`outlived`). */
  end(mint: Intent | undefined, call: MintCall, how: MintEnd): Promise<void>;
  /** Whether another replica is minting. */
  isBusy(record: AppRecord): boolean;
  /** See CommitContext; replicas that cannot ask one another are not to choose the same. */
  generationStep(): number;
  /** What is kept after an answer of WeChat to a flight that began with generation `base`. */
  commit(
    record: AppRecord,
    issued: Issued,
    context: CommitContext,
    base: number,
  ): { record: AppRecord; result: CommitResult };
  /** When the token must be asked for because of mints of unknown outcome, in elapsed milliseconds; Infinity: never. */
  confirmationDueAt(record: AppRecord): number;
  /** How much later than its time this replica does what is due; 0: it is its turn. */
  standbyDelayMs(record: AppRecord): number;
  /** Tells other replicas that WeChat refuses the token of this generation. */
  tellDead(generation: number, warning: string): void;
  /** Tells other replicas of a failed refresh of this generation, which is tried again at `retryAt`. */
  tellTrouble(generation: number, error: UpstreamError | LingpaiError, failures: number, retryAt: number): void;
  /** The keeper gives the app up. */
  release(): void;
}

/** The tenure of a process that owns its store. */
export class LocalCoordinator implements Coordinator {
  readonly #appId: string;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #recordWriter: RecordWriter;
  readonly #holder: Holder;
  readonly #save: ReturnType<RecordWriter['adopt']>;
  /** What was last given to the saver. */
  #saved = '';

  constructor(options: {
    appId: string;
    settings: Settings;
    timeline: Timeline;
    recordWriter: RecordWriter;
    holder: Holder;
  }) {
    const { recordWriter, holder } = options;
    this.#appId = options.appId;
    this.#settings = options.settings;
    this.#timeline = options.timeline;
    this.#recordWriter = recordWriter;
    this.#holder = holder;
    this.#save = recordWriter.adopt(() => holder.onChange());
  }

  get failing(): boolean {
    return this.#recordWriter.failing;
  }

  known(): undefined {}

  async sync(): Promise<boolean> {
    return true;
  }

  async change(change: Change): Promise<void> {
    const before = this.#holder.read();
    const record = change(before);
    const stored = toStored(this.#appId, record, this.#timeline);
    const text = JSON.stringify(stored);
    if (text !== this.#saved) {
      this.#saved = text;
      await this.#save(stored);
    }
    if (record !== before) this.#holder.take(record);
  }

  async begin(wish: MintWish): Promise<undefined> {
    await this.change((record) => {
      const refusal = mintRefusal(record, wish, this.#settings);
      if (refusal) throw refusal;
      return mintBegun(record, wish, this.#settings);
    });
    this.#holder.onChange();
  }

  async end(_mint: undefined, call: MintCall, how: MintEnd): Promise<void> {
    if (how !== 'undone') return;
    await this.change((record) => mintUndone(record, call));
    this.#holder.onChange();
  }

  commit(record: AppRecord, issued: Issued, context: CommitContext): { record: AppRecord; result: CommitResult } {
    const { record: next, rotated } = commit(record, issued, context);
    return { record: next, result: rotated ? 'rotated' : 'unchanged' };
  }

  isBusy(): boolean {
    return false;
  }

  generationStep(): number {
    return 1;
  }

  confirmationDueAt(record: AppRecord): number {
    return record.openMints > 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  standbyDelayMs(): number {
    return 0;
  }

  tellDead(): void {}

  tellTrouble(): void {}

  release(): void {}
}
