import type { CommitContext } from './commit.ts';
import { commit } from './commit.ts';
import type { LingpaiError, UpstreamError } from './errors.ts';
import type { Issued } from './issuing.ts';
import { type Kept, toStored } from './kept.ts';
import { type MintCall, type MintWish, mintBegun, mintRefusal, mintUndone } from './minting.ts';
import type { Intent, Settings } from './ports.ts';
import type { Saver } from './saver.ts';
import type { Timeline } from './timeline.ts';

/** A change of what is kept. It may be made again on a newer record; it throws to leave all as it is. */
export type Change = (kept: Kept) => Kept;

/** What a keeper has on its side. */
export interface Holder {
  read(): Kept;
  /** Takes what is stored into use. */
  take(kept: Kept): void;
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
export interface Tenure {
  /** Whether something is in memory only, because the store refuses it. */
  readonly failing: boolean;
  /** What other replicas have stored of the app before. */
  known(): Kept | undefined;
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
  isBusy(kept: Kept): boolean;
  /** See CommitContext; replicas that cannot ask one another are not to choose the same. */
  generationStep(): number;
  /** What is kept after an answer of WeChat to a flight that began with generation `base`. */
  commit(kept: Kept, issued: Issued, context: CommitContext, base: number): { kept: Kept; result: CommitResult };
  /** When the token must be asked for because of mints of unknown outcome, in elapsed milliseconds; Infinity: never. */
  owedAt(kept: Kept): number;
  /** How much later than its time this replica does what is due; 0: it is its turn. */
  patienceMs(kept: Kept): number;
  /** Tells other replicas that WeChat refuses the token of this generation. */
  tellDead(generation: number, warning: string): void;
  /** Tells other replicas of a failed refresh of this generation, which is tried again at `retryAt`. */
  tellTrouble(generation: number, error: UpstreamError | LingpaiError, failures: number, retryAt: number): void;
  /** The keeper gives the app up. */
  release(): void;
}

/** The tenure of a process that owns its store. */
export class SoleTenure implements Tenure {
  readonly #appId: string;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #saver: Saver;
  readonly #holder: Holder;
  readonly #save: ReturnType<Saver['adopt']>;
  /** What was last given to the saver. */
  #saved = '';

  constructor(options: { appId: string; settings: Settings; timeline: Timeline; saver: Saver; holder: Holder }) {
    const { saver, holder } = options;
    this.#appId = options.appId;
    this.#settings = options.settings;
    this.#timeline = options.timeline;
    this.#saver = saver;
    this.#holder = holder;
    this.#save = saver.adopt(() => holder.onChange());
  }

  get failing(): boolean {
    return this.#saver.failing;
  }

  known(): undefined {}

  async sync(): Promise<boolean> {
    return true;
  }

  async change(change: Change): Promise<void> {
    const before = this.#holder.read();
    const kept = change(before);
    const record = toStored(this.#appId, kept, this.#timeline);
    const text = JSON.stringify(record);
    if (text !== this.#saved) {
      this.#saved = text;
      await this.#save(record);
    }
    if (kept !== before) this.#holder.take(kept);
  }

  async begin(wish: MintWish): Promise<undefined> {
    await this.change((kept) => {
      const refusal = mintRefusal(kept, wish, this.#settings);
      if (refusal) throw refusal;
      return mintBegun(kept, wish, this.#settings);
    });
    this.#holder.onChange();
  }

  async end(_mint: undefined, call: MintCall, how: MintEnd): Promise<void> {
    if (how !== 'undone') return;
    await this.change((kept) => mintUndone(kept, call));
    this.#holder.onChange();
  }

  commit(kept: Kept, issued: Issued, context: CommitContext): { kept: Kept; result: CommitResult } {
    const { kept: next, rotated } = commit(kept, issued, context);
    return { kept: next, result: rotated ? 'rotated' : 'unchanged' };
  }

  isBusy(): boolean {
    return false;
  }

  generationStep(): number {
    return 1;
  }

  owedAt(kept: Kept): number {
    return kept.openMints > 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }

  patienceMs(): number {
    return 0;
  }

  tellDead(): void {}

  tellTrouble(): void {}

  release(): void {}
}
