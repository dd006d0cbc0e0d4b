import type { StoreListener } from '../../src/core/cluster/ports.ts';
import type { Clock, Timer } from '../../src/core/kernel/clock.ts';
import type { WeChat } from '../../src/core/tokens/ports.ts';
import type { FakeConnection } from './shared-store.ts';

/** One process: what it is given works until it is killed, and while it is stopped nothing reaches it. */
export class Life {
  #state: 'running' | 'stopped' | 'dead' = 'running';
  #waiting: (() => void)[] = [];

  get alive(): boolean {
    return this.#state !== 'dead';
  }

  /** SIGSTOP. */
  stop(): void {
    if (this.alive) this.#state = 'stopped';
  }

  /** SIGCONT: all that would have reached it meanwhile does now, in order. */
  resume(): void {
    if (this.#state !== 'stopped') return;
    this.#state = 'running';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const deliver of waiting) deliver();
  }

  /** SIGKILL. */
  kill(): void {
    this.#state = 'dead';
    this.#waiting = [];
  }

  /** Delivers something to the process, when it can take it. */
  deliver(act: () => void): void {
    if (this.#state === 'running') act();
    else if (this.#state === 'stopped') this.#waiting.push(act);
  }

  /** Begins `act` in life only, and delivers its outcome. */
  call<T>(act: () => Promise<T>): Promise<T> {
    if (!this.alive) return new Promise(() => undefined);
    return new Promise((resolve, reject) => {
      act().then(
        (value) => this.deliver(() => resolve(value)),
        (error) => this.deliver(() => reject(error)),
      );
    });
  }

  clock(clock: Clock): Clock {
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      schedule: (delayMs, fn): Timer => {
        let cancelled = false;
        const run = () => {
          if (!cancelled) fn();
        };
        const timer = clock.schedule(delayMs, () => this.deliver(run));
        return {
          cancel: () => {
            cancelled = true;
            timer.cancel();
          },
        };
      },
    };
  }

  wechat(wechat: WeChat): WeChat {
    return {
      fetchToken: (app, call, signal) => this.call(() => wechat.fetchToken(app, call, signal)),
      probe: (token, signal) => this.call(() => wechat.probe(token, signal)),
    };
  }

  store(connection: FakeConnection) {
    return {
      poll: (...args: Parameters<FakeConnection['poll']>) => this.call(() => connection.poll(...args)),
      read: (...args: Parameters<FakeConnection['read']>) => this.call(() => connection.read(...args)),
      replace: (...args: Parameters<FakeConnection['replace']>) => this.call(() => connection.replace(...args)),
      remove: (...args: Parameters<FakeConnection['remove']>) => this.call(() => connection.remove(...args)),
      listen: (listener: StoreListener) =>
        connection.listen({
          changed: (appId) => this.deliver(() => listener.changed(appId)),
          reconnected: () => this.deliver(() => listener.reconnected()),
        }),
      close: () => connection.close(),
    };
  }
}
