import { createBroker } from '../../src/app/broker.ts';
import type { Random } from '../../src/core/kernel/clock.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import type { BrokerEvent } from '../../src/core/tokens/events.ts';
import type { App, Settings } from '../../src/core/tokens/ports.ts';
import type { Registry } from '../../src/core/tokens/registry.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import type { Condition, Happening, Told } from './history.ts';
import { Life } from './life.ts';
import type { Scheduler } from './scheduler.ts';
import type { StoreServer } from './shared-store.ts';
import type { OnStep } from './steps.ts';
import { StoreLink, StoreLinkError } from './store-link.ts';
import { WeChatLink, type WeChatWorld } from './wechat-link.ts';
import { Wire } from './wire.ts';

/** What all hosts have in common. */
export interface HostWorld {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly epochTime: number;
  readonly apps: readonly App[];
  readonly settings: Settings;
  readonly cluster: { readonly leaseMs: number; readonly pollMs: number };
  readonly server: StoreServer;
  readonly wechat: WeChatWorld;
  readonly note: (happening: Happening) => void;
  /** Told of every event of every broker. */
  readonly observe: (host: number, event: BrokerEvent) => void;
  readonly onStep: OnStep;
}

/** A process of a replica: it may be starting, serving or draining. */
export interface Serving {
  readonly life: Life;
  readonly broker: Registry;
  readonly link: StoreLink;
}

const SWEEP_MS = 30_000;
/** How long a supervisor waits before it starts a process that has ended. */
const RESTART_MS = 1_000;

/** A machine: its wall clock, its wires, and the replica's processes that run on it one after another. */
export class Host {
  readonly index: number;
  readonly storeWire: Wire;
  readonly wechatWire: Wire;
  readonly #world: HostWorld;
  #wallOffset = 0;
  #lives = 0;
  #serving: Serving | undefined;
  /** Whether the process has started. */
  #ready = false;
  /** Why each condition is bad: several faults may make it so. */
  readonly #faults = new Map<Condition, Set<object>>();

  constructor(index: number, world: HostWorld) {
    this.index = index;
    this.#world = world;
    this.storeWire = new Wire(world.random, [0.2, 3]);
    this.wechatWire = new Wire(world.random, [15, 120]);
  }

  /** Its process, whether it has started or not. */
  get process(): Serving | undefined {
    return this.#serving;
  }

  /** Its broker, once it serves. */
  get broker(): Registry | undefined {
    return this.#ready ? this.#serving?.broker : undefined;
  }

  setWallClock(byMs: number): void {
    this.#wallOffset += byMs;
  }

  /** Notes that something is wrong with the host, until the function is called that this returns. */
  suffer(what: Condition): () => void {
    const faults = this.#faults.get(what) ?? new Set();
    this.#faults.set(what, faults);
    const fault = {};
    if (faults.size === 0) this.#world.note({ type: 'condition', host: this.index, what, bad: true });
    faults.add(fault);
    return () => {
      if (!faults.delete(fault) || faults.size > 0) return;
      this.#world.note({ type: 'condition', host: this.index, what, bad: false });
    };
  }

  /** Starts a process; one that cannot read the store is started again. */
  start(): void {
    if (this.#serving) return;
    const { scheduler, random, epochTime, apps, settings, cluster, server, wechat, onStep } = this.#world;
    const replica = `r${this.index}.${++this.#lives}`;
    const wallNow = () => epochTime + scheduler.now + this.#wallOffset;
    const life = new Life({ name: replica, scheduler, random, wallNow });
    const link = new StoreLink({ life, server, wire: this.storeWire, scheduler, random, onStep });
    const { registry: broker } = createBroker(
      {
        clock: life.clock,
        random,
        wechat: new WeChatLink({ life, host: this.index, wire: this.wechatWire, world: wechat }),
        observe: (event) => this.#observe(life, event),
        store: { shared: { store: link, replica, address: `host${this.index}:7600`, ...cluster } },
      },
      settings,
    );
    this.#serving = { life, broker, link };
    scheduler.touch();
    broker.start(apps).then(
      () => life.deliver(() => this.#started(life, broker)),
      (error) => {
        if (!(error instanceof StoreLinkError)) this.#crack(error);
        this.#restart(life);
      },
    );
  }

  /** The process ends without a word. */
  kill(): void {
    const serving = this.#serving;
    if (!serving) return;
    this.#leave();
    this.#serving = undefined;
    serving.life.kill();
  }

  /** The process says goodbye, finishes what it is at, and ends. Calls `onEnd` then. */
  drain(onEnd: () => void): void {
    const serving = this.#serving;
    // One that has not started has nothing to finish.
    if (!serving || !this.#ready) {
      this.kill();
      onEnd();
      return;
    }
    const { life, broker } = serving;
    this.#leave();
    life.deliver(() => {
      const end = () => {
        if (this.#serving !== serving) return;
        this.kill();
        onEnd();
      };
      broker.drain(5_000).then(
        () => life.deliver(end),
        (error) => this.#crack(error),
      );
    });
  }

  /** Notes that the process failed in a way that nobody foresaw. */
  #crack(error: unknown): void {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#world.note({ type: 'crack', host: this.index, what });
  }

  /** Nobody new comes from now on. */
  #leave(): void {
    if (this.#ready) this.#world.note({ type: 'condition', host: this.index, what: 'down', bad: true });
    this.#ready = false;
  }

  #restart(life: Life): void {
    if (this.#serving?.life !== life) return;
    this.kill();
    this.#world.scheduler.after(RESTART_MS, () => this.start());
  }

  #started(life: Life, broker: Registry): void {
    if (this.#serving?.life !== life) return;
    this.#ready = true;
    this.#world.note({ type: 'condition', host: this.index, what: 'down', bad: false });
    const sweep = () => {
      broker.sweep();
      life.clock.schedule(SWEEP_MS, sweep);
    };
    life.clock.schedule(SWEEP_MS * this.#world.random(), sweep);
    const watch = broker.watch({ appIds: [], known: new Map() });
    const take = () => {
      for (let event = watch.take(); event; event = watch.take()) {
        if (event.type === 'state') this.#world.note({ type: 'published', host: this.index, ...toldOf(event.state) });
        if (event.type === 'goaway') return watch.onNews({ wake: () => undefined });
      }
    };
    watch.onNews({ wake: take });
    take();
  }

  #observe(life: Life, event: BrokerEvent): void {
    if (life.state === 'dead') return;
    if (event.type === 'refresh_failed' && event.error instanceof LingpaiError && event.error.reason === 'INTERNAL') {
      this.#crack(event.error.cause ?? event.error);
    }
    this.#world.observe(this.index, event);
  }
}

/** A state as the history has it. */
export function toldOf({ appId, generation, current, previous }: TokenState): Told {
  return { app: appId, generation, current: current?.id ?? null, previous: previous?.id ?? null };
}
