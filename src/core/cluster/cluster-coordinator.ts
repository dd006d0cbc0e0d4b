import { Condition } from '../kernel/condition.ts';
import { type LingpaiError, recordSealedError, storeUnavailableError, type UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { AppRecord } from '../tokens/app-record.ts';
import type { Coordinator, KeptRecord, Landed } from '../tokens/coordinator.ts';
import type { MintCall } from '../tokens/issuers.ts';
import type { MintWish } from '../tokens/minting.ts';
import type { Intent, Settings } from '../tokens/ports.ts';
import type { Land, MintEnd, RecordChange } from '../tokens/record-change.ts';
import { blockingIntent, longestMintMs } from './intents.ts';
import { mintWindowMs } from './mint-window.ts';
import type { SharedChange } from './shared-change.ts';
import { sharedOf } from './shared-part.ts';
import type { SharedRecord, SharedRecordUser } from './shared-record.ts';
import { StoreAwayError } from './store-away.ts';

/** What a coordinator needs of its cluster. */
export interface ClusterCoordinatorDeps {
  readonly replica: string;
  readonly settings: Settings;
  readonly timeline: Timeline;
  readonly now: () => number;
  readonly random: () => number;
  readonly leaseMs: number;
  /** Whether this is the name of another replica, and it lives. */
  readonly isOther: (replica: string) => boolean;
  /** Whether it is this replica's turn to refresh the app, after so many failures. */
  readonly isOwner: (appId: string, failures: number) => boolean;
  /** Whether the last poll of the store succeeded. */
  readonly isStoreThere: () => boolean;
  /** Reads the app's record, together with those of others that are asked for. False: the store did not answer. */
  readonly sync: (appId: string) => Promise<boolean>;
  /** The keeper has given the app up. */
  readonly onRelease: () => void;
}

/** Another replica is minting. */
class Blocked extends Error {
  override readonly name = 'Blocked';
}

/** From so many steps of a generation a replica draws one. */
const STEPS = 1_000;

/** Coordinates one app with the other replicas on the same store. */
export class ClusterCoordinator implements Coordinator {
  readonly #deps: ClusterCoordinatorDeps;
  readonly #appId: string;
  readonly #sharedRecord: SharedRecord;
  readonly #changed = new Condition();
  #user: SharedRecordUser | undefined;

  constructor(options: { deps: ClusterCoordinatorDeps; appId: string; sharedRecord: SharedRecord }) {
    this.#deps = options.deps;
    this.#appId = options.appId;
    this.#sharedRecord = options.sharedRecord;
  }

  /** Has the keeper told of what other replicas store. */
  hold(kept: KeptRecord): void {
    this.#user = {
      take: (record) => {
        kept.take(record);
        this.wake();
      },
      onChange: () => kept.onChange(),
    };
    this.#sharedRecord.attach(this.#user);
  }

  /** Has those who wait for another replica look again. */
  wake(): void {
    this.#changed.notifyAll();
  }

  get failing(): boolean {
    return this.#sharedRecord.failing;
  }

  get isSealed(): boolean {
    return this.#sharedRecord.isSealed;
  }

  known(): AppRecord {
    return this.#sharedRecord.record;
  }

  sync(): Promise<boolean> {
    return this.#deps.sync(this.#appId);
  }

  get ownGeneration(): number {
    return this.#sharedRecord.ownGeneration;
  }

  async change(change: RecordChange): Promise<void> {
    await this.#sharedRecord.change(change);
  }

  async store(change: RecordChange): Promise<void> {
    await this.#sharedRecord.store(change);
  }

  async begin(wish: MintWish, base: number, signal: AbortSignal): Promise<Intent> {
    const { timeline, settings } = this.#deps;
    for (;;) {
      const askedAt = timeline.elapsed();
      try {
        const { intent } = await this.#sharedRecord.store({ type: 'begin_mint', wish, base }, (record) => {
          if (record.generation === base && this.#blockingIntent(record)) throw new Blocked();
        });
        // A process that was stopped in between has been given up by the others, and would mint beside them.
        if (timeline.elapsed() - askedAt > settings.timeoutMs) throw new StoreAwayError('too late', { intent });
        if (intent) return intent;
      } catch (error) {
        if (error instanceof StoreAwayError) throw this.#storeAway(error, error.intent, wish.call);
        if (!(error instanceof Blocked)) throw error;
        // Nobody tells that the other's mint is over.
        if (!this.#deps.isStoreThere()) throw this.#storeAway(error, undefined, wish.call);
        await this.#released(signal);
      }
    }
  }

  async end(intent: Intent | undefined, call: MintCall, how: MintEnd): Promise<void> {
    if (intent) await this.change({ type: 'end_mint', intent, call, how });
  }

  async land(landing: Omit<Land, 'type' | 'generationStep'>): Promise<Landed> {
    const change: Land = { type: 'land', ...landing, generationStep: this.generationStep() };
    const { result = 'unchanged', record } = await this.#sharedRecord.change(change);
    return { result, generation: record.generation };
  }

  isBusy(record: AppRecord): boolean {
    return this.#blockingIntent(record) !== undefined;
  }

  generationStep(): number {
    return 1 + Math.floor(this.#deps.random() * STEPS);
  }

  confirmationDueAt(record: AppRecord): number {
    const { pendingConfirmation, intents } = sharedOf(record);
    const { timeline, settings } = this.#deps;
    // Intents that are younger than the pending confirmation: WeChat has not been asked since they were begun.
    const isUnasked = intents.some(({ epoch }) => epoch > (pendingConfirmation?.epoch ?? 0));
    if (isUnasked && !this.#blockingIntent(record)) return Number.NEGATIVE_INFINITY;
    if (!pendingConfirmation) return Number.POSITIVE_INFINITY;
    const now = timeline.elapsed();
    const at = timeline.momentOf(pendingConfirmation.time);
    // By a clock that was set back since.
    return at > now + 2 * mintWindowMs(settings.overlapMs) ? now : at;
  }

  standbyDelayMs(record: AppRecord): number {
    const failures = sharedOf(record).trouble?.failures ?? 0;
    return this.#deps.isOwner(this.#appId, failures) ? 0 : 2 * this.#deps.leaseMs;
  }

  tellDead(generation: number, warning: string): void {
    this.#tell({ type: 'mark_dead', generation, warning });
  }

  tellTrouble(generation: number, error: UpstreamError | LingpaiError, failures: number, retryAt: number): void {
    const { timeline, now } = this.#deps;
    const { reason, message, answer = null } = error;
    // A store that is away says nothing of WeChat, and a budget is in the record.
    if (reason === 'STORE_UNAVAILABLE') return;
    const retryTime = timeline.wallOf(retryAt);
    const trouble = { failures, time: now(), retryTime, reason, message, answer };
    this.#tell({ type: 'mark_trouble', generation, trouble });
  }

  release(): void {
    if (this.#user) this.#sharedRecord.detach(this.#user);
    this.#deps.onRelease();
  }

  #blockingIntent(record: AppRecord): Intent | undefined {
    const { isOther, now, settings, leaseMs } = this.#deps;
    return blockingIntent(record, isOther, now(), longestMintMs(settings, leaseMs));
  }

  /** Tells other replicas. What a store that is away does not take is not repeated: it would be stale. */
  #tell(change: SharedChange): void {
    this.#sharedRecord.store(change).catch(() => undefined);
  }

  /** The write may have taken effect: then its intent is taken out, for no call follows it. */
  #storeAway(cause: StoreAwayError | Blocked, intent: Intent | undefined, call: MintCall): LingpaiError {
    if (intent) void this.end(intent, call, 'undone');
    if (this.isSealed) return recordSealedError(this.#appId, cause);
    return storeUnavailableError(this.#appId, 'no token can be minted safely', cause);
  }

  /** Resolves when the mint of another replica may be over. */
  async #released(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // By now it may be over.
    if (this.#blockingIntent(this.#sharedRecord.record)) await this.#changed.wait(signal);
  }
}
