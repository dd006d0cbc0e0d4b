import { LingpaiError } from '../../../src/core/kernel/errors.ts';
import type { Registry } from '../../../src/core/tokens/registry.ts';
import type { TokenState } from '../../../src/core/tokens/state.ts';
import type { Watch, WatchEvent } from '../../../src/core/tokens/watch.ts';
import { type Findings, leaks } from './findings.ts';

/** A service that watches, and comes back with what it knows when its stream or the broker breaks. */
export class Client {
  readonly #findings: Findings;
  readonly #appIds: readonly string[];
  readonly pace: 'fast' | 'slow';
  /** The newest generation that it has seen, by app. */
  readonly #known: Map<string, number>;
  /** What it has been sent since it connected. */
  readonly #states = new Map<string, TokenState>();
  #connected = new Map<string, number>();
  #watch: Watch | undefined;
  #reading: Promise<void> | undefined;
  goodbyes = 0;
  /** What a slow reader must get at least: a mailbox holds the newest state only. */
  readonly #least = new Map<string, number>();

  constructor(options: {
    appIds: readonly string[];
    known: ReadonlyMap<string, number>;
    pace: 'fast' | 'slow';
    findings: Findings;
  }) {
    this.#appIds = options.appIds;
    this.#known = new Map(options.known);
    this.pace = options.pace;
    this.#findings = options.findings;
  }

  /** Whether it has a stream. */
  get open(): boolean {
    return this.#watch !== undefined;
  }

  connect(broker: Registry): void {
    this.#states.clear();
    this.#least.clear();
    this.#reading = undefined;
    this.#connected = new Map(this.#known);
    try {
      this.#watch = broker.watch({ appIds: this.#appIds, known: this.#connected });
    } catch (error) {
      this.#watch = undefined;
      const reasons = ['APP_NOT_FOUND', 'DRAINING'];
      const known = error instanceof LingpaiError && reasons.includes(error.reason);
      this.#findings.law('a watch is refused for a reason', known, () => String(error));
      return;
    }
    if (this.pace === 'fast') void this.#readAll(this.#watch);
  }

  /** The process of the broker died. */
  cut(): void {
    this.#watch = undefined;
  }

  leave(): void {
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  /** Reads one event, if it is not reading already. */
  read(states: Iterable<TokenState>): void {
    const watch = this.#watch;
    if (!watch || this.#reading) return;
    for (const { appId, generation } of states) this.#least.set(appId, generation);
    const reading = this.#readOne(watch).then(() => {
      if (this.#reading === reading) this.#reading = undefined;
    });
    this.#reading = reading;
  }

  /** When all has settled that can, a client that reads has the last state of each app. */
  check(states: readonly TokenState[]): void {
    if (this.pace === 'slow' || !this.#watch) return;
    for (const state of states) {
      const { appId } = state;
      if (this.#appIds.length > 0 && !this.#appIds.includes(appId)) continue;
      const got = this.#states.get(appId);
      const knows = (this.#connected.get(appId) ?? -1) >= state.generation;
      if (!got && knows) continue;
      if ((this.#connected.get(appId) ?? -1) > state.generation) continue;
      this.#findings.law('the last state is never lost', got !== undefined && same(got, state), () => appId);
    }
    const ids = new Set(states.map(({ appId }) => appId));
    for (const appId of this.#states.keys()) {
      this.#findings.law('an app that is removed is gone', ids.has(appId), () => appId);
    }
  }

  async #readAll(watch: Watch): Promise<void> {
    while (this.#watch === watch) if (!(await this.#readOne(watch))) return;
  }

  async #readOne(watch: Watch): Promise<boolean> {
    try {
      const event = await watch.next();
      if (this.#watch !== watch || !event) return false;
      this.#take(event);
      return true;
    } catch (error) {
      const draining = error instanceof LingpaiError && error.reason === 'DRAINING' && this.goodbyes > 0;
      this.#findings.law('a watch ends after a goodbye', draining, () => String(error));
      this.leave();
      return false;
    }
  }

  #take(event: WatchEvent): void {
    if (event.type === 'goaway') this.goodbyes++;
    if (event.type === 'removed') this.#states.delete(event.appId);
    if (event.type !== 'state') return;
    const { appId, generation, statusReason } = event.state;
    this.#findings.law('no reason holds a secret or a token', !leaks(statusReason), () => appId);
    const newest = generation >= (this.#least.get(appId) ?? 0);
    this.#findings.law('a slow reader skips to the newest state', newest, () => `${appId} ${generation}`);
    const known = this.#known.get(appId) ?? 0;
    const falls = generation < known;
    this.#findings.law('generation never falls for a client', !falls, () => `${appId} ${known} to ${generation}`);
    this.#known.set(appId, Math.max(known, generation));
    this.#states.set(appId, event.state);
  }
}

function same(a: TokenState, b: TokenState): boolean {
  const token = (state: TokenState) =>
    [state.current, state.previous].map((each) => `${each?.value} ${each?.expireTime}`).join();
  return (
    a.generation === b.generation && a.status === b.status && a.statusReason === b.statusReason && token(a) === token(b)
  );
}
