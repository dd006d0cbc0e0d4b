import type { Clock, Random } from '../kernel/clock.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, toStored } from './app-record.ts';
import { type CommitContext, commit } from './commit.ts';
import type { Change, CommitResult, Coordinator, Coordinators, Holder, MintEnd } from './coordinator.ts';
import type { BrokerEvent } from './events.ts';
import type { Issued } from './issuing.ts';
import { type MintCall, type MintWish, mintBegun, mintRefusal, mintUndone } from './minting.ts';
import type { App, Settings, Store, StoredApp } from './ports.ts';
import { RecordWriter } from './record-writer.ts';

/** What local coordinators need of the world. */
export interface LocalCoordinatorDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly timeline: Timeline;
  readonly store: Store;
  readonly settings: Settings;
  readonly observe: (event: BrokerEvent) => void;
}

/** The coordinators of a process that owns its store. */
export class LocalCoordinators implements Coordinators {
  readonly isShared = false;
  readonly #deps: LocalCoordinatorDeps;
  /** Each outlives its app's keeper, so that what is not durable yet becomes so, and no two write one record. */
  readonly #writers = new Map<string, RecordWriter>();

  constructor(deps: LocalCoordinatorDeps) {
    this.#deps = deps;
  }

  start(): Promise<readonly StoredApp[]> {
    return this.#deps.store.load();
  }

  create({ appId }: App, holder: Holder): LocalCoordinator {
    const { settings, timeline } = this.#deps;
    const recordWriter = this.#writers.get(appId) ?? new RecordWriter(this.#deps, appId);
    this.#writers.set(appId, recordWriter);
    return new LocalCoordinator({ appId, settings, timeline, recordWriter, holder });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer.stop()));
  }
}

/** Coordinates with nobody: the process owns its store. */
export class LocalCoordinator implements Coordinator {
  readonly #appId: string;
  readonly #settings: Settings;
  readonly #timeline: Timeline;
  readonly #recordWriter: RecordWriter;
  readonly #holder: Holder;
  readonly #save: ReturnType<RecordWriter['adopt']>;
  /** What was last given to the writer. */
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
