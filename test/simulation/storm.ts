import type { Random } from '../../src/core/kernel/clock.ts';
import { LingpaiError } from '../../src/core/kernel/errors.ts';
import type { Rejected } from '../../src/core/tokens/rejected.ts';
import type { TokenState } from '../../src/core/tokens/state.ts';
import type { Happening } from './history.ts';
import type { Host } from './host.ts';
import type { Scheduler } from './scheduler.ts';

/** How long a caller waits. */
const PATIENCE_MS = 10_000;

/** Those who call the broker: operators, and services that ask for tokens and report them, rightly or not. */
export class Storm {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #hosts: readonly Host[];
  readonly #note: (happening: Happening) => void;
  /** Token values that were current once, by app. */
  readonly #old = new Map<string, string>();

  constructor(options: {
    scheduler: Scheduler;
    random: Random;
    hosts: readonly Host[];
    note: (happening: Happening) => void;
  }) {
    this.#scheduler = options.scheduler;
    this.#random = options.random;
    this.#hosts = options.hosts;
    this.#note = options.note;
  }

  /** Asks for a new token, whatever the old one is worth. */
  operator(appId: string, host: Host): void {
    this.#force(appId, host, undefined);
  }

  /** Asks and reports every so often, at hosts in turn. */
  rage(appId: string, everyMs: number, ms: number): void {
    const until = this.#scheduler.now + ms;
    const next = (turn: number) => {
      if (this.#scheduler.now >= until) return;
      const host = this.#hosts[turn % this.#hosts.length];
      if (host) this.#call(appId, host);
      this.#scheduler.after(everyMs * (0.5 + this.#random()), () => next(turn + 1));
    };
    next(0);
  }

  #call(appId: string, host: Host): void {
    const state = this.#state(appId, host);
    const draw = this.#random();
    const old = this.#old.get(appId);
    if (state?.current) this.#old.set(appId, state.current.value);
    if (!state || draw < 0.3) this.#get(appId, host, state);
    else if (draw < 0.5 && state.current) this.#force(appId, host, { kind: 'token', token: state.current.value });
    else if (draw < 0.7 && old !== undefined) this.#force(appId, host, { kind: 'token', token: old });
    else if (draw < 0.98) this.#force(appId, host, { kind: 'generation', generation: state.generation });
    else this.#force(appId, host, undefined);
  }

  #state(appId: string, host: Host): TokenState | undefined {
    for (const state of host.broker?.states() ?? []) if (state.appId === appId) return state;
    return undefined;
  }

  #get(appId: string, host: Host, state: TokenState | undefined): void {
    const { broker, process } = host;
    if (!broker || !process) return;
    const { life } = process;
    const patience = this.#patience(host);
    const minGeneration = this.#random() < 0.2 && state ? state.generation + 1 : 0;
    life.deliver(() => {
      try {
        const answer = broker.get(appId, { minGeneration, signal: () => patience });
        Promise.resolve(answer).catch((error) => this.#failed(host, error));
      } catch (error) {
        this.#failed(host, error);
      }
    });
  }

  #force(appId: string, host: Host, rejected: Rejected | undefined): void {
    const { broker, process } = host;
    if (!broker || !process) return;
    const patience = this.#patience(host);
    process.life.deliver(() => {
      broker.forceRefresh(appId, rejected, patience).catch((error) => this.#failed(host, error));
    });
  }

  #patience(host: Host): AbortSignal {
    const controller = new AbortController();
    host.process?.life.clock.schedule(PATIENCE_MS, () => controller.abort(new Gone()));
    return controller.signal;
  }

  #failed(host: Host, error: unknown): void {
    if (error instanceof Gone) return;
    if (error instanceof LingpaiError && error.reason !== 'INTERNAL') return;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#note({ type: 'crack', host: host.index, what });
  }
}

/** The caller gave up. */
class Gone extends Error {}
