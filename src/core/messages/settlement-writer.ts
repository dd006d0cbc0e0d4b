import type { Clock, Random } from '../kernel/clock.ts';
import { WriteBehind } from '../kernel/write-behind.ts';
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
  readonly writes: WriteBehind;
  readonly end: () => void;
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

  constructor(deps: { clock: Clock; random: Random; ledger: Ledger; observe: (event: MessageEvent) => void }) {
    this.#deps = deps;
  }

  /** How many are not durable yet. */
  get pending(): number {
    return this.#open.size;
  }

  /** Begins to write one. */
  settle(appId: string, sendId: string, settlement: Settlement): PendingSettlement {
    const { clock, random, ledger, observe } = this.#deps;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    const writes = new WriteBehind({
      clock,
      random,
      write: () => ledger.settle(sendId, settlement),
      onSuccess: (failures) => {
        if (failures > 0) observe({ type: 'ledger_recovered', appId });
        this.#open.delete(open);
        end();
      },
      onFailure: (error, _failures, retryInMs) =>
        observe({ type: 'ledger_failed', appId, operation: 'settle', error, retryInMs }),
    });
    const open: Open = { writes, end };
    this.#open.add(open);
    return { tried: writes.flush(), over };
  }

  /** Tries once more to write what is not durable yet, then leaves it. */
  async stop(): Promise<void> {
    const last = [...this.#open].map(async ({ writes, end }) => {
      await writes.stop();
      end();
    });
    await Promise.all(last);
  }
}
