import type { Clock, Random, Timer } from '../kernel/clock.ts';
import { backoffMs } from '../tokens/backoff.ts';
import type { MessageEvent } from './events.ts';
import type { Ledger, Settlement } from './ports.ts';

/** A settlement on its way into the ledger. Neither promise rejects. */
export interface PendingSettlement {
  /** It is durable, or has failed to be once and is repeated. */
  readonly tried: Promise<void>;
  /** It is durable, or was given up at the end. */
  readonly over: Promise<void>;
}

interface Open {
  readonly appId: string;
  readonly sendId: string;
  readonly settlement: Settlement;
  readonly end: () => void;
  failures: number;
  trying: Promise<void>;
  retry: Timer | undefined;
}

/** Writes settlements, and repeats those that fail until they are durable. */
export class SettlementWriter {
  readonly #deps: {
    readonly clock: Clock;
    readonly random: Random;
    readonly ledger: Ledger;
    readonly observe: (event: MessageEvent) => void;
  };
  readonly #open = new Set<Open>();
  #stopped = false;

  constructor(deps: { clock: Clock; random: Random; ledger: Ledger; observe: (event: MessageEvent) => void }) {
    this.#deps = deps;
  }

  /** How many are not durable yet. */
  get pending(): number {
    return this.#open.size;
  }

  /** Begins to write one. */
  settle(appId: string, sendId: string, settlement: Settlement): PendingSettlement {
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const open: Open = { appId, sendId, settlement, end, failures: 0, trying: over, retry: undefined };
    this.#open.add(open);
    open.trying = this.#try(open);
    return { tried: open.trying, over };
  }

  /** Tries once more to write what is not durable yet, then leaves it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const last = [...this.#open].map(async (open) => {
      await open.trying;
      if (!this.#open.has(open)) return;
      open.retry?.cancel();
      await this.#try(open);
      open.end();
    });
    await Promise.all(last);
  }

  async #try(open: Open): Promise<void> {
    const { appId, sendId, settlement } = open;
    const { clock, random, ledger, observe } = this.#deps;
    try {
      await ledger.settle(sendId, settlement);
      if (open.failures > 0) observe({ type: 'ledger_recovered', appId });
      this.#open.delete(open);
      open.end();
    } catch (error) {
      open.failures++;
      const retryInMs = this.#stopped ? null : backoffMs(open.failures, random);
      observe({ type: 'ledger_failed', appId, operation: 'settle', error, retryInMs });
      if (retryInMs === null) return;
      open.retry = clock.schedule(retryInMs, () => {
        open.trying = this.#try(open);
      });
    }
  }
}
