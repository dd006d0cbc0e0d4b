import type { Member, Poll, Reading, Replaced, SharedStore, StoreListener } from '../../src/core/cluster/ports.ts';
import type { Random } from '../../src/core/kernel/clock.ts';
import type { StoredApp } from '../../src/core/tokens/ports.ts';
import type { Life } from './life.ts';
import type { Scheduler } from './scheduler.ts';
import type { StoreServer } from './shared-store.ts';
import type { OnStep } from './steps.ts';
import type { Wire } from './wire.ts';

/** How long a command may take. */
const TIMEOUT_MS = 1_000;
/** A command that comes back after its time, because its process stood still, is often given up before it is read. */
const TOO_LATE_SHARE = 0.5;
/** The share of requests that a cut only holds up. */
const HELD_SHARE = 0.3;
const RECONNECT_MS = 1_500;

/** The store could not be asked, or did not answer. */
export class StoreLinkError extends Error {
  override readonly name = 'StoreLinkError';
}

/** One process's connection to the shared store. */
export class StoreLink implements SharedStore {
  readonly #life: Life;
  readonly #server: StoreServer;
  readonly #wire: Wire;
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #onStep: OnStep;
  #listener: StoreListener | undefined;
  /** The run of the server that it is connected to; undefined: it is not, and what is asked is refused at once. */
  #run: number | undefined;
  /** Which connection it is. */
  #connection = 0;
  /** What a cut holds up. */
  #held: (() => void)[] = [];
  /** Hints no longer come, and nobody says so. */
  deaf = false;

  constructor(options: {
    life: Life;
    server: StoreServer;
    wire: Wire;
    scheduler: Scheduler;
    random: Random;
    onStep: OnStep;
  }) {
    this.#life = options.life;
    this.#server = options.server;
    this.#wire = options.wire;
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.#onStep = options.onStep;
    if (this.#server.up && !this.#wire.cut) this.#run = this.#server.run;
  }

  poll(self: Member, position: number): Promise<Poll> {
    return this.#command(() => this.#server.poll(self, position));
  }

  read(appIds: readonly string[]): Promise<Reading> {
    return this.#command(() => this.#server.read(appIds));
  }

  replace(app: StoredApp, expected: string | null, etag: string): Promise<Replaced> {
    const { appId } = app;
    const what = this.#purpose(app);
    const answer = this.#command(
      () => {
        const replaced = this.#server.replace(app, expected, etag, this.#life.name);
        if (what && replaced.stored) this.#onStep(`${what} stored`, appId, this.#life);
        return replaced;
      },
      (replaced) => {
        if (what && replaced.stored) this.#onStep(`${what} answered`, appId, this.#life);
      },
    );
    if (what) this.#onStep(`${what} leaving`, appId, this.#life);
    return answer;
  }

  remove(replica: string): Promise<void> {
    return this.#command(() => this.#server.remove(replica));
  }

  listen(listener: StoreListener): void {
    this.#listener = listener;
  }

  async close(): Promise<void> {
    this.#listener = undefined;
  }

  /** The server tells of a change. */
  hint(appId: string): void {
    if (this.deaf || this.#wire.cut || this.#run !== this.#server.run) return;
    this.#scheduler.after(this.#wire.latency(), () => {
      if (!this.deaf && !this.#wire.cut) this.#life.deliver(() => this.#listener?.changed(appId));
    });
  }

  /** The server or the wire works again. `broken`: the connection did not outlive the fault. */
  recover(broken: boolean): void {
    const held = this.#held;
    this.#held = [];
    if (!broken) for (const pass of held) pass();
    if (broken || this.#run !== this.#server.run) this.#reconnect();
  }

  /** Another connection takes the place of this one, once there is something to connect to. */
  #reconnect(): void {
    this.#run = undefined;
    const connection = ++this.#connection;
    this.#scheduler.after(this.#random() * RECONNECT_MS, () => {
      this.#life.deliver(() => {
        if (connection !== this.#connection || !this.#server.up || this.#wire.cut) return;
        this.#run = this.#server.run;
        this.#listener?.reconnected();
      });
    });
  }

  /** `onAnswer` is called when the answer reaches the process, before the process reads it. */
  #command<T>(apply: () => T, onAnswer?: (value: T) => void): Promise<T> {
    const sentAt = this.#scheduler.now;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const [connection, run] = [this.#connection, this.#run];
    if (run === undefined) {
      this.#life.deliver(() => reject(new StoreLinkError('there is no connection to the store')));
      return promise;
    }
    // A connection on which something is not answered is given up.
    const giveUp = () => {
      reject(new StoreLinkError('the store did not answer in time'));
      if (connection === this.#connection) this.#reconnect();
    };
    const giveUpInTime = () => this.#life.clock.schedule(sentAt + TIMEOUT_MS - this.#scheduler.now, giveUp);
    const answer = (value: T) => {
      if (this.#wire.losesAnswer()) return void giveUpInTime();
      const latencyMs = this.#wire.latency();
      if (this.#scheduler.now + latencyMs > sentAt + TIMEOUT_MS) return void giveUpInTime();
      this.#scheduler.after(latencyMs, () => {
        onAnswer?.(value);
        this.#life.deliver(() => {
          const late = this.#scheduler.now > sentAt + TIMEOUT_MS;
          if (late && this.#random() < TOO_LATE_SHARE) giveUp();
          else resolve(value);
        });
      });
    };
    this.#life.send(() => {
      const arrive = () => {
        if (this.#server.up && run === this.#server.run) answer(apply());
        else giveUpInTime();
      };
      if (this.#wire.losesRequest()) {
        if (this.#wire.cut && this.#random() < HELD_SHARE) {
          this.#held.push(() => {
            if (run === this.#server.run) apply();
          });
        }
        return void giveUpInTime();
      }
      this.#scheduler.after(this.#wire.passage(this.#scheduler.now), arrive);
    });
    return promise;
  }

  /** What a write is for, seen by the mints of this process that it adds or takes away. */
  #purpose(app: StoredApp): 'intent' | 'outcome' | undefined {
    const own = (record: StoredApp | undefined) =>
      record?.shared?.intents.filter(({ replica }) => replica === this.#life.name).length ?? 0;
    const more = own(app) - own(this.#server.record(app.appId));
    return more > 0 ? 'intent' : more < 0 ? 'outcome' : undefined;
  }
}
