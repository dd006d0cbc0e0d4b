import { abortable } from '../kernel/abortable.ts';
import type { Timer } from '../kernel/clock.ts';
import { storeUnavailableError } from '../kernel/errors.ts';
import type { StoredTicket, TicketDeps, TicketKey } from './ports.ts';

/** The pause before it is looked whether another replica has brought the ticket that it fetches. */
const LOOK_AGAIN_MS = 500;
/** A replica that claims a ticket and dies keeps the others from it for so many times the deadline of one call. */
const CLAIMED_CALLS = 3;

/** One ticket's record in the store, which replicas share: whose turn it is to fetch, and what the others have brought. */
export class TicketShare {
  readonly #deps: TicketDeps;
  readonly #key: TicketKey;

  constructor(deps: TicketDeps, key: TicketKey) {
    this.#deps = deps;
    this.#key = key;
  }

  /**
   * Waits for this replica's turn. Resolves with false where `adopt` has taken what another has brought, and rejects with what it
   * throws. Where the store does not answer it is this one's turn if that `isPressing`; else rejects with STORE_UNAVAILABLE.
   */
  async claim(
    signal: AbortSignal,
    adopt: (stored: StoredTicket) => boolean,
    isPressing: () => boolean,
  ): Promise<boolean> {
    const { store, owner, settings } = this.#deps;
    for (;;) {
      let isMine: boolean;
      let stored: StoredTicket | undefined;
      try {
        isMine = await store.claim(this.#key, owner, CLAIMED_CALLS * settings.timeoutMs);
        stored = await store.read(this.#key);
      } catch (cause) {
        if (isPressing()) return true;
        throw storeUnavailableError(this.#key.appId, 'another replica may be about to bring a ticket', cause);
      }
      let isKept = false;
      try {
        if (stored && adopt(stored)) return false;
        isKept = isMine;
      } finally {
        if (isMine && !isKept) await this.release();
      }
      if (isMine) return true;
      await this.#pause(signal);
    }
  }

  /** Ends the claim. Where the store is away it ends by itself. */
  async release(): Promise<void> {
    const { store, owner } = this.#deps;
    await store.release(this.#key, owner).catch(() => undefined);
  }

  /** Stores a record, unless another replica has stored a ticket that ends later: this one has waited for the store to return. */
  async save(record: StoredTicket): Promise<void> {
    const { store } = this.#deps;
    const there = (await store.read(this.#key))?.ticket;
    const isOurs = !there || there.id === record.ticket?.id;
    if (!isOurs && there.expireTime > (record.ticket?.expireTime ?? 0)) return;
    await store.save(record);
  }

  #pause(signal: AbortSignal): Promise<void> {
    let timer: Timer | undefined;
    const over = new Promise<void>((resolve) => {
      timer = this.#deps.clock.schedule(LOOK_AGAIN_MS, resolve);
    });
    return abortable(over, signal, () => {
      timer?.cancel();
      return true;
    });
  }
}
