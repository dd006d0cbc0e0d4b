import type { Clock, Random } from '../kernel/clock.ts';
import type { Timeline } from '../kernel/timeline.ts';
import { type AppRecord, toStored } from './app-record.ts';
import type { Coordinator, Coordinators, KeptRecord, Landed } from './coordinator.ts';
import type { BrokerEvent } from './events.ts';
import type { MintCall } from './issuers.ts';
import type { MintWish } from './minting.ts';
import type { App, Settings, Store, StoredApp } from './ports.ts';
import {
  type Land,
  localRules,
  type MintEnd,
  type MintRules,
  type RecordChange,
  type Reduced,
  reduce,
} from './record-change.ts';
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

  create({ appId }: App, kept: KeptRecord): LocalCoordinator {
    const { settings, timeline } = this.#deps;
    const recordWriter = this.#writers.get(appId) ?? new RecordWriter(this.#deps, appId);
    this.#writers.set(appId, recordWriter);
    return new LocalCoordinator({ appId, settings, timeline, recordWriter, kept });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#writers.values()].map((writer) => writer.stop()));
  }
}

/** Coordinates with nobody: the process owns its store. */
export class LocalCoordinator implements Coordinator {
  /** A store with a record that cannot be opened is not begun with. */
  readonly isSealed = false;
  readonly #appId: string;
  readonly #rules: MintRules;
  readonly #timeline: Timeline;
  readonly #recordWriter: RecordWriter;
  readonly #kept: KeptRecord;
  readonly #save: ReturnType<RecordWriter['adopt']>;
  #ownGeneration = 0;
  /** What was last given to the writer. */
  #saved = '';

  constructor(options: {
    appId: string;
    settings: Settings;
    timeline: Timeline;
    recordWriter: RecordWriter;
    kept: KeptRecord;
  }) {
    const { recordWriter, kept } = options;
    this.#appId = options.appId;
    this.#rules = localRules(options.settings);
    this.#timeline = options.timeline;
    this.#recordWriter = recordWriter;
    this.#kept = kept;
    this.#save = recordWriter.adopt(() => kept.onChange());
  }

  get failing(): boolean {
    return this.#recordWriter.failing;
  }

  get ownGeneration(): number {
    return this.#ownGeneration;
  }

  known(): undefined {}

  async sync(): Promise<boolean> {
    return true;
  }

  async change(change: RecordChange): Promise<void> {
    await this.#change(change);
  }

  store(change: RecordChange): Promise<void> {
    return this.change(change);
  }

  async begin(wish: MintWish, base: number): Promise<undefined> {
    await this.#change({ type: 'begin_mint', wish, base });
    this.#kept.onChange();
  }

  async end(intent: undefined, call: MintCall, how: MintEnd): Promise<void> {
    await this.#change({ type: 'end_mint', intent, call, how });
    this.#kept.onChange();
  }

  async land(landing: Omit<Land, 'type' | 'generationStep'>): Promise<Landed> {
    const generationStep = this.generationStep();
    const { result = 'unchanged' } = await this.#change({ type: 'land', ...landing, generationStep });
    return { result, generation: this.#kept.read().generation };
  }

  async #change(change: RecordChange): Promise<Reduced> {
    const before = this.#kept.read();
    const reduced = reduce(before, change, this.#timeline.moment(), this.#rules);
    const { record, result, refusal } = reduced;
    if (refusal) throw refusal;
    if (result === 'rotated') this.#ownGeneration = record.generation;
    const stored = toStored(this.#appId, record, this.#timeline);
    const text = JSON.stringify(stored);
    if (text !== this.#saved) {
      this.#saved = text;
      await this.#save(stored);
    }
    if (record !== before) this.#kept.take(record);
    return reduced;
  }

  isBusy(): boolean {
    return false;
  }

  generationStep(): number {
    return 1;
  }

  /** A mint whose answer was lost is made up for at once: nobody else can know of it. */
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
