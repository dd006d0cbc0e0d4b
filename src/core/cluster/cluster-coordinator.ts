import { Condition } from '../kernel/condition.ts';
import { type LingpaiError, storeUnavailableError, type UpstreamError } from '../kernel/errors.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { AppRecord } from '../tokens/app-record.ts';
import type { CommitContext } from '../tokens/commit.ts';
import {
  type Change,
  type CommitResult,
  type Coordinator,
  type Holder,
  type MintEnd,
  Superseded,
} from '../tokens/coordinator.ts';
import type { Issued } from '../tokens/issuing.ts';
import { type MintCall, type MintWish, mintBegun, mintRefusal } from '../tokens/minting.ts';
import type { Intent, Settings } from '../tokens/ports.ts';
import {
  blockingIntent,
  conclude,
  intend,
  land,
  longestMintMs,
  settledMs,
  sharedOf,
  withShared,
} from './convergence.ts';
import { type SharedRecord, type SharedRecordUser, StoreAwayError } from './shared-record.ts';

/** What a tenure needs of its cluster. */
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
  /** The tenure is over. */
  readonly onRelease: () => void;
}

/** Another replica is minting. */
class Blocked extends Error {
  override readonly name = 'Blocked';
}

/** From so many steps of a generation a replica draws one. */
const STEPS = 1_000;

/** The tenure of a replica that shares its store. */
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

  /** Has the holder told of what other replicas store. */
  hold(holder: Holder): void {
    this.#user = {
      take: (record) => {
        holder.take(record);
        this.wake();
      },
      onChange: () => holder.onChange(),
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

  known(): AppRecord {
    return this.#sharedRecord.record;
  }

  sync(): Promise<boolean> {
    return this.#deps.sync(this.#appId);
  }

  change(change: Change, need: 'must' | 'may'): Promise<void> {
    return this.#sharedRecord.change(change, need);
  }

  async begin(wish: MintWish, base: number, signal: AbortSignal): Promise<Intent> {
    for (;;) {
      const written: { intent?: Intent } = {};
      const askedAt = this.#deps.timeline.elapsed();
      try {
        await this.change((record) => {
          if (record.generation !== base) throw new Superseded();
          if (this.#blockingIntent(record)) throw new Blocked();
          const { settings, replica, now, timeline } = this.#deps;
          const current = { ...wish, now: timeline.elapsed(), wallNow: now() };
          const refusal = mintRefusal(record, current, settings);
          if (refusal) throw refusal;
          const intended = intend(mintBegun(record, current, settings), replica, now());
          written.intent = intended.intent;
          return intended.record;
        }, 'must');
        // A process that was stopped in between has been given up by the others, and would mint beside them.
        if (this.#deps.timeline.elapsed() - askedAt > this.#deps.settings.timeoutMs)
          throw new StoreAwayError('too late');
        if (written.intent) return written.intent;
      } catch (error) {
        if (error instanceof StoreAwayError) throw this.#storeAway(error, written.intent, wish.call);
        if (!(error instanceof Blocked)) throw error;
        // Nobody tells that the other's mint is over.
        if (!this.#deps.isStoreThere()) throw this.#storeAway(error, undefined, wish.call);
        await this.#released(signal);
      }
    }
  }

  async end(mint: Intent | undefined, call: MintCall, how: MintEnd): Promise<void> {
    const { now, settings } = this.#deps;
    const { overlapMs } = settings;
    if (mint) await this.change((record) => conclude(record, mint, call, how, { time: now(), overlapMs }), 'may');
  }

  commit(
    record: AppRecord,
    issued: Issued,
    context: CommitContext,
    base: number,
  ): { record: AppRecord; result: CommitResult } {
    const { timeline, now, settings } = this.#deps;
    const { overlapMs } = settings;
    const answeredTime = timeline.wallOf(issued.answeredAt + timeline.leaptMs);
    const currentTime = record.current ? timeline.wallOf(record.current.issuedAt) : undefined;
    const flown = {
      base,
      intent: issued.intent,
      sentTime: timeline.wallOf(issued.sentAt),
      time: now(),
      answeredTime,
      currentTime,
      overlapMs,
    };
    return land(record, issued, context, flown);
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
    // WeChat has been asked since those were begun that the debt was recorded with.
    const isUnasked = intents.some(({ epoch }) => epoch > (pendingConfirmation?.epoch ?? 0));
    if (isUnasked && !this.#blockingIntent(record)) return Number.NEGATIVE_INFINITY;
    if (!pendingConfirmation) return Number.POSITIVE_INFINITY;
    const now = timeline.elapsed();
    const at = timeline.momentOf(pendingConfirmation.time);
    // By a clock that was set back since.
    return at > now + 2 * settledMs(settings.overlapMs) ? now : at;
  }

  standbyDelayMs(record: AppRecord): number {
    const failures = sharedOf(record).trouble?.failures ?? 0;
    return this.#deps.isOwner(this.#appId, failures) ? 0 : 2 * this.#deps.leaseMs;
  }

  tellDead(generation: number, warning: string): void {
    this.#tell((record) => (record.generation === generation ? withShared(record, { dead: true, warning }) : record));
  }

  tellTrouble(generation: number, error: UpstreamError | LingpaiError, failures: number, retryAt: number): void {
    const { timeline, now } = this.#deps;
    const { reason, message, answer = null } = error;
    // A store that is away says nothing of WeChat, and a budget is in the record.
    if (reason === 'STORE_UNAVAILABLE') return;
    const retryTime = timeline.wallOf(retryAt);
    const trouble = { failures, time: now(), retryTime, reason, message, answer };
    // Another replica may have refreshed it meanwhile, and then nothing is the matter.
    this.#tell((record) => (record.generation === generation ? withShared(record, { trouble }) : record));
  }

  release(): void {
    if (this.#user) this.#sharedRecord.detach(this.#user);
    this.#deps.onRelease();
  }

  #blockingIntent(record: AppRecord): Intent | undefined {
    const { isOther, now, settings, leaseMs } = this.#deps;
    return blockingIntent(record, isOther, now(), longestMintMs(settings, leaseMs));
  }

  /** What others would merely like to know is not kept for a store that is away. */
  #tell(change: Change): void {
    this.change(change, 'must').catch(() => undefined);
  }

  /** The write may have taken effect: then its intent must not stand, for nothing follows from it. */
  #storeAway(cause: StoreAwayError | Blocked, intent: Intent | undefined, call: MintCall): LingpaiError {
    if (intent) void this.end(intent, call, 'undone');
    return storeUnavailableError(this.#appId, 'no token can be minted safely', cause);
  }

  /** Resolves when the mint of another replica may be over. */
  async #released(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    // By now it may be over.
    if (this.#blockingIntent(this.#sharedRecord.record)) await this.#changed.wait(signal);
  }
}
