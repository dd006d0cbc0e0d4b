import type { Random } from '../../src/core/kernel/clock.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Watch } from '../../src/core/tokens/watch.ts';
import type { Happening, Told } from './history.ts';
import { type Host, type Serving, toldOf } from './host.ts';
import type { Scheduler } from './scheduler.ts';

/** A service notices after so long that a stream has fallen silent: the broker's heartbeats tell it. */
const SILENCE_MS = 25_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** A connection that was reset is made again within this time. */
const RECONNECT_MS = 2_000;

/** A service that watches every app: it follows goodbyes, and goes elsewhere when its replica falls silent or dies. */
export class Subscriber {
  readonly #index: number;
  readonly #hosts: readonly Host[];
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #note: (happening: Happening) => void;
  /** The generations of the tokens that it has: it tells the next replica. */
  readonly #known = new Map<string, number>();
  /** Changes with each connection: what an older one still brings does not count. */
  #connection = 0;
  #arrivedAt = 0;
  #at: { readonly host: Host; readonly serving: Serving; readonly watch: Watch } | undefined;

  constructor(options: {
    index: number;
    hosts: readonly Host[];
    scheduler: Scheduler;
    random: Random;
    note: (happening: Happening) => void;
  }) {
    this.#index = options.index;
    this.#hosts = options.hosts;
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.#note = options.note;
  }

  /** Connects to a host, or to any. */
  connect(preferred?: Host): void {
    const connection = ++this.#connection;
    const candidates = preferred?.broker ? [preferred] : this.#hosts.filter((each) => each.broker);
    const host = candidates[Math.floor(this.#random() * candidates.length)];
    const serving = host?.process;
    if (!host?.broker || !serving) {
      this.#connectLater(this.#random() * RECONNECT_MS, connection);
      return;
    }
    let open = false;
    serving.life.deliver(() => {
      if (connection !== this.#connection || host.process !== serving) return;
      open = true;
      this.#open(host, serving, connection);
    });
    this.#scheduler.after(CONNECT_TIMEOUT_MS, () => {
      if (!open && connection === this.#connection) this.connect();
    });
    serving.life.onDeath(() => this.#cut(connection));
  }

  /** Its replica has fallen silent, if this is where it is. */
  silenced(host: Host): void {
    const at = this.#at;
    if (at?.host !== host) return;
    const connection = this.#connection;
    this.#scheduler.after(SILENCE_MS, () => {
      if (connection === this.#connection && at.serving.life.state === 'paused') this.#leave(0);
    });
  }

  #open(host: Host, serving: Serving, connection: number): void {
    let watch: Watch;
    try {
      watch = serving.broker.watch({ appIds: [], known: new Map(this.#known) });
    } catch (error) {
      if (!(error instanceof LingpaiError && error.reason === 'DRAINING')) throw error;
      this.#connectLater(RECONNECT_MS * this.#random(), connection);
      return;
    }
    this.#at = { host, serving, watch };
    this.#note({ type: 'stream', subscriber: this.#index, host: host.index });
    const read = () => {
      for (let event = watch.take(); event; event = watch.take()) {
        if (event.type === 'state') this.#send(host, toldOf(event.state), connection);
        if (event.type === 'goaway') {
          this.#scheduler.after(event.reconnectAfterMs, () => {
            if (connection === this.#connection) this.#leave(0);
          });
          return watch.onNews({ wake: () => undefined });
        }
      }
    };
    watch.onNews({ wake: read });
    read();
  }

  /** A state is on its way; states of one stream do not overtake one another. */
  #send(host: Host, told: Told, connection: number): void {
    this.#arrivedAt = Math.max(this.#arrivedAt + 0.001, this.#scheduler.now + this.#random() * 20);
    this.#scheduler.after(this.#arrivedAt - this.#scheduler.now, () => {
      if (connection !== this.#connection) return;
      if (told.current !== null) this.#known.set(told.app, told.generation);
      else this.#known.delete(told.app);
      this.#note({ type: 'seen', subscriber: this.#index, host: host.index, ...told });
    });
  }

  #cut(connection: number): void {
    if (connection === this.#connection) this.#leave(this.#random() * RECONNECT_MS);
  }

  #leave(afterMs: number): void {
    const at = this.#at;
    this.#at = undefined;
    at?.serving.life.deliver(() => at.watch[Symbol.dispose]());
    if (at) this.#note({ type: 'stream', subscriber: this.#index, host: null });
    this.#connectLater(afterMs, ++this.#connection);
  }

  #connectLater(afterMs: number, connection: number): void {
    this.#scheduler.after(Math.max(afterMs, 1), () => {
      if (connection === this.#connection) this.connect();
    });
  }
}
