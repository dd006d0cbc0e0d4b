import type { Timer } from '../kernel/clock.ts';
import type { Timeline } from '../kernel/timeline.ts';
import type { Coordinators, Keepers, KeptRecord } from '../tokens/coordinator.ts';
import type { BrokerEvent } from '../tokens/events.ts';
import type { App, Settings } from '../tokens/ports.ts';
import { ClusterCoordinator } from './cluster-coordinator.ts';
import { DeadReplicaReaper } from './dead-replica-reaper.ts';
import { longestMintMs } from './intents.ts';
import { LEASES_REMEMBERED, Members } from './members.ts';
import type { Dated, Poll, SharedStore } from './ports.ts';
import { ReadBatcher } from './read-batcher.ts';
import { ownerOf } from './rendezvous.ts';
import { SharedRecord } from './shared-record.ts';
import { type AppShare, type ClusterStatus, shareOf } from './status.ts';
import type { StoreClock } from './store-clock.ts';
import { StoreHealth } from './store-health.ts';

/** What makes a broker one of several replicas. */
export interface ClusterDeps {
  readonly store: SharedStore;
  /** The name of this process: unique among all that ever were. */
  readonly replica: string;
  /** Where it serves gRPC, as host:port, for people. */
  readonly address: string;
  /** The failure detector's time-out: a replica that is silent for longer is dead. */
  readonly leaseMs: number;
  /** The pause between polls of the store. */
  readonly pollMs: number;
  /** Cleans up what a dead replica has left in the store. Where it rejects, it is called again at a later poll. */
  readonly onDeath?: (replica: string) => Promise<void>;
  /** Cleans up what this replica has left there. Where it rejects, the replica stays a member, which the others find dead. */
  readonly onLeave?: () => Promise<void>;
}

/** This replica among the others: polls the store, knows who lives, and gives its keepers what others have stored. */
export class Cluster implements Coordinators {
  readonly isShared = true;
  readonly #deps: ClusterDeps;
  readonly #settings: Settings;
  readonly #clock: StoreClock;
  readonly #timeline: Timeline;
  readonly #random: () => number;
  readonly #observe: (event: BrokerEvent) => void;
  readonly #members: Members;
  readonly #reaper: DeadReplicaReaper;
  readonly #sharedRecords = new Map<string, SharedRecord>();
  readonly #coordinators = new Map<string, ClusterCoordinator>();
  readonly #readBatcher: ReadBatcher;
  #living: readonly string[];
  #position = 0;
  #polls = 0;
  #ids = 0;
  #lostSets = 0;
  readonly #health: StoreHealth;
  #timer: Timer | undefined;
  #polling: Promise<void> | undefined;
  #closed = false;
  #keepers: Keepers | undefined;

  constructor(options: {
    deps: ClusterDeps;
    settings: Settings;
    clock: StoreClock;
    timeline: Timeline;
    random: () => number;
    observe: (event: BrokerEvent) => void;
  }) {
    this.#deps = options.deps;
    this.#settings = options.settings;
    this.#clock = options.clock;
    this.#timeline = options.timeline;
    this.#random = options.random;
    this.#observe = options.observe;
    const { replica: self, leaseMs, pollMs } = options.deps;
    this.#members = new Members({ self, leaseMs, pollMs });
    this.#readBatcher = new ReadBatcher((appIds) => this.#read(appIds));
    this.#reaper = new DeadReplicaReaper(async (replica) => options.deps.onDeath?.(replica));
    this.#living = [self];
    this.#health = new StoreHealth({ observe: options.observe, monotonic: () => this.#clock.monotonic() });
  }

  /** Reads the whole store, then polls. Rejects when the store cannot be read. The records come with the coordinators. */
  async start(keepers: Keepers): Promise<readonly []> {
    this.#keepers = keepers;
    this.#deps.store.listen({
      changed: (appId) => void this.#readBatcher.ask(appId),
      reconnected: () => {
        this.#position = 0;
        void this.#pollAnew();
      },
    });
    const askedAt = this.#clock.monotonic();
    const poll = await this.#ask(0);
    if (poll.sealed) throw poll.sealed.error;
    this.#clock.set(poll.time, askedAt);
    this.#timeline.resync(); // nothing has an age yet
    await this.#take(poll, 0);
    this.#schedule();
    return [];
  }

  create(app: App, kept: KeptRecord): ClusterCoordinator {
    const { replica, leaseMs } = this.#deps;
    const coordinator: ClusterCoordinator = new ClusterCoordinator({
      deps: {
        replica,
        settings: this.#settings,
        timeline: this.#timeline,
        now: () => this.#clock.now(),
        random: this.#random,
        leaseMs,
        isOther: (name) => this.#members.isOther(name),
        isStoreThere: () => this.#health.isAvailable,
        onRelease: () => {
          if (this.#coordinators.get(app.appId) === coordinator) this.#coordinators.delete(app.appId);
        },
        sync: (appId) => this.#readBatcher.ask(appId),
        // While the store is away nobody tells this replica what others do.
        isOwner: (appId, failures) => !this.#health.isAvailable || ownerOf(appId, failures, this.#living) === replica,
      },
      appId: app.appId,
      sharedRecord: this.#sharedRecord(app.appId),
    });
    coordinator.hold(kept);
    this.#coordinators.set(app.appId, coordinator);
    return coordinator;
  }

  /** Whether this is the name of another replica, and it lives. */
  isOther(replica: string): boolean {
    return this.#members.isOther(replica);
  }

  /** Asks the store what is new. Never rejects. */
  async poll(): Promise<void> {
    this.#polling ??= this.#poll().finally(() => {
      this.#polling = undefined;
      this.#schedule();
    });
    await this.#polling;
  }

  /** A poll that is under way may have been sent over a connection that is lost. */
  async #pollAnew(): Promise<void> {
    await this.#polling;
    if (!this.#closed) await this.poll();
  }

  /** Stores what is not stored yet, once more, and leaves if it may. Nothing follows. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#polling;
    await this.#readBatcher.close();
    await Promise.all([...this.#sharedRecords.values()].map((sharedRecord) => sharedRecord.flush()));
    const { store, replica, onLeave } = this.#deps;
    const left = Promise.resolve(onLeave?.()).then(() => store.remove(replica));
    await left.catch(() => undefined); // the others find it dead when a lease has passed
  }

  /** How this replica sees the cluster. */
  status(): ClusterStatus {
    const { replica, address } = this.#deps;
    const self = { replica, address, self: true, alive: true, silentMs: 0 };
    const others = this.#members.others().map(({ member, silentMs, alive }) => ({
      replica: member.replica,
      address: member.address,
      self: false,
      alive,
      silentMs,
    }));
    return {
      replica,
      storeAvailable: this.#health.isAvailable,
      storeTrouble: this.#health.trouble,
      storeAgeMs: this.#health.ageMs,
      replicas: [self, ...others].toSorted((a, b) => (a.replica < b.replica ? -1 : 1)),
      apps: [...this.#coordinators.keys()].map((appId) => this.#share(appId)),
      lostSets: this.#lostSets,
    };
  }

  #share(appId: string): AppShare {
    const { record, failing } = this.#sharedRecord(appId);
    return shareOf(appId, record, {
      living: this.#living,
      isAlive: (name) => name === this.#deps.replica || this.#members.isOther(name),
      now: this.#clock.now(),
      longestMintMs: longestMintMs(this.#settings, this.#deps.leaseMs),
      unsaved: failing,
    });
  }

  async #poll(): Promise<void> {
    const from = this.#position;
    try {
      await this.#take(await this.#dated(() => this.#ask(from)), from);
    } catch (error) {
      this.#health.failed(error);
      this.#wake();
    }
  }

  /** Has those who wait for another replica look again. */
  #wake(): void {
    for (const coordinator of this.#coordinators.values()) coordinator.wake();
  }

  #ask(position: number): Promise<Poll> {
    const { store, replica, address, pollMs } = this.#deps;
    return store.poll({ replica, beat: ++this.#polls, address, pollMs }, position);
  }

  async #take({ members, changed, sealed, position }: Poll, from: number) {
    this.#health.answered(position);
    // A reconnection meanwhile asks for everything.
    if (this.#position === from) this.#position = position;
    const { died, changed: isNewCircle } = this.#members.look(members, this.#clock.monotonic());
    for (const replica of died) this.#observe({ type: 'replica_died', replica });
    this.#reaper.look(this.#members.others());
    const seen = new Map(changed.map((versioned) => [versioned.app.appId, versioned]));
    const done = [...seen.values()].map((versioned) => this.#sharedRecord(versioned.app.appId).see(versioned));
    const away = new Set(sealed?.records.map(({ appId }) => appId));
    for (const record of sealed?.records ?? []) done.push(this.#sharedRecord(record.appId).seeSealed(record));
    if (from === 0 || position < from) {
      // What is known here and missing there is put back.
      for (const [appId, sharedRecord] of this.#sharedRecords)
        if (!seen.has(appId) && !away.has(appId) && sharedRecord.isKnown) done.push(sharedRecord.see(undefined));
    }
    for (const sharedRecord of this.#sharedRecords.values()) if (sharedRecord.isOpen) done.push(sharedRecord.flush());
    await Promise.all(done);
    if (isNewCircle) {
      this.#living = this.#members.living();
      this.#keepers?.tick();
    }
    this.#wake(); // a lease ends by time, too
    for (const { member, silentMs } of this.#members.others()) {
      if (silentMs < LEASES_REMEMBERED * this.#deps.leaseMs || !this.#reaper.isDone(member.replica)) continue;
      await this.#deps.store.remove(member.replica);
    }
  }

  async #read(appIds: readonly string[]): Promise<void> {
    const { records, sealed = [] } = await this.#dated(() => this.#deps.store.read(appIds));
    await Promise.all([
      ...records.map((versioned) => this.#sharedRecord(versioned.app.appId).see(versioned)),
      ...sealed.map((record) => this.#sharedRecord(record.appId).seeSealed(record)),
    ]);
  }

  /** Sets the clock by the store's answer before the answer is used: a record is read by the clock by which it was written. */
  async #dated<T extends Dated>(ask: () => Promise<T>): Promise<T> {
    const askedAt = this.#clock.monotonic();
    const answer = await ask();
    this.#clock.set(answer.time, askedAt);
    this.#keepers?.catchUp();
    return answer;
  }

  #schedule(): void {
    this.#timer?.cancel();
    if (this.#closed) return;
    this.#timer = this.#clock.schedule(this.#deps.pollMs, () => void this.poll());
  }

  #sharedRecord(appId: string): SharedRecord {
    const known = this.#sharedRecords.get(appId);
    if (known) return known;
    const { store, replica } = this.#deps;
    const sharedRecord = new SharedRecord(
      {
        read: (appIds) => this.#dated(() => store.read(appIds)),
        replace: (...change) => this.#dated(() => store.replace(...change)),
        replica,
        settings: this.#settings,
        timeline: this.#timeline,
        random: this.#random,
        newId: () => `${replica}.${++this.#ids}`,
        onLost: () => {
          this.#lostSets++;
          this.#observe({ type: 'set_lost', appId });
        },
        onSign: (name) => this.#members.heard(name),
        onFailure: (error) => this.#observe({ type: 'store_failed', appId, error, retryInMs: this.#deps.pollMs }),
      },
      appId,
    );
    this.#sharedRecords.set(appId, sharedRecord);
    return sharedRecord;
  }
}
