import type { Deps, Store } from '../../src/core/tokens/ports.ts';

/** What a broker that owns its store is given. */
export interface ProcessDeps extends Deps {
  readonly store: Store;
}

/** One life of a broker: what it is given works until `kill`, and from then on never answers again. */
export class Process {
  #alive = true;
  readonly deps: ProcessDeps;

  constructor(deps: ProcessDeps) {
    const { clock, random, store, wechat, observe } = deps;
    this.deps = {
      random,
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        schedule: (delayMs, fn) => (this.#alive ? clock.schedule(delayMs, fn) : { cancel: () => undefined }),
      },
      wechat: {
        fetchToken: (app, call, signal) => this.#while(() => wechat.fetchToken(app, call, signal)),
        probe: (token, signal) => this.#while(() => wechat.probe(token, signal)),
      },
      store: {
        load: () => this.#while(() => store.load()),
        save: (app) => this.#while(() => store.save(app)),
        close: () => this.#while(() => store.close()),
      },
      observe: (event) => {
        if (this.#alive) observe(event);
      },
    };
  }

  /** The end. Whatever the broker still does reaches nobody. */
  kill(): void {
    this.#alive = false;
  }

  /** Begins `act` only in life, and lets its outcome through only in life. */
  #while<T>(act: () => Promise<T>): Promise<T> {
    if (!this.#alive) return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      act().then(
        (value) => this.#alive && resolve(value),
        (error) => this.#alive && reject(error),
      );
    });
  }
}
