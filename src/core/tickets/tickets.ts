import { drainingError } from '../kernel/errors.ts';
import type { Token } from '../tokens/state.ts';
import type { TicketDeps, TicketKey, TicketType } from './ports.ts';
import { TicketKeeper } from './ticket-keeper.ts';

/** A ticket as metrics show it. */
export interface TicketState extends TicketKey {
  /** Null: there is none now. */
  readonly ticket: Token | null;
}

/** The tickets of all apps: each is kept from when it is first asked for. */
export class Tickets {
  readonly #deps: TicketDeps;
  readonly #keepers = new Map<string, TicketKeeper>();

  constructor(deps: TicketDeps) {
    this.#deps = deps;
  }

  /** Loads the store, and keeps what is good in it. Rejects when the store cannot be read. */
  async start(): Promise<void> {
    for (const stored of await this.#deps.store.load()) {
      const keeper = new TicketKeeper(this.#deps, { appId: stored.appId, type: stored.type }, stored);
      // What nobody has asked for lately is not asked for.
      if (!keeper.peek()) continue;
      this.#keepers.set(nameOf(keeper.key), keeper);
      keeper.tick();
    }
  }

  /**
   * A ticket: at once where one is in memory, else a promise of what the flight brings. `signal` is only asked for when there is
   * something to wait for. Fails with LingpaiError, or with the signal's reason.
   */
  get(appId: string, type: TicketType, options: { signal: () => AbortSignal }): Token | Promise<Token> {
    const { tokens } = this.#deps;
    tokens.catchUp();
    tokens.requireApp(appId);
    const keeper = this.#keeper({ appId, type });
    return keeper.peek() ?? keeper.obtain(options.signal());
  }

  /** What waits for an operator, or for a quota, is tried at once. */
  tryAgain(): void {
    for (const keeper of this.#keepers.values()) keeper.tryAgain();
  }

  /** Catches up with lost timers. To be called every 30 s, when the clock has been looked at. */
  sweep(): void {
    for (const keeper of this.#keepers.values()) keeper.tick();
  }

  /** Every ticket that is kept, or was. */
  *states(): Generator<TicketState> {
    for (const keeper of this.#keepers.values()) yield { ...keeper.key, ticket: keeper.peek() ?? null };
  }

  /** Begins nothing more. Resolves when no call is under way and what was brought is stored, or could not be. */
  async stop(): Promise<void> {
    const reason = drainingError();
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.close(reason)));
  }

  #keeper(key: TicketKey): TicketKeeper {
    const name = nameOf(key);
    const known = this.#keepers.get(name);
    if (known) return known;
    const keeper = new TicketKeeper(this.#deps, key);
    this.#keepers.set(name, keeper);
    return keeper;
  }
}

/** No app id has a slash. */
function nameOf({ appId, type }: TicketKey): string {
  return `${appId}/${type}`;
}
