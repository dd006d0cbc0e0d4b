import type {
  Begun,
  Deposit,
  DrawnPermit,
  KeyQuery,
  KnownKey,
  Ledger,
  NewPermit,
  NewSend,
  PermitTally,
  PermitWish,
  Settlement,
} from '../../src/core/messages/ports.ts';

/** What a test may let fail. */
export type LedgerCall = 'begin' | 'lookup' | 'redraw' | 'settle';

/** A permit in the ledger. `uses` counts the reserved ones too. */
export interface HeldPermit extends NewPermit {
  readonly appId: string;
  uses: number;
  reserved: number;
  doubtful: boolean;
}

/** A send in the ledger. */
export interface HeldSend {
  readonly send: NewSend;
  permit: HeldPermit | null;
  outcome: Settlement['outcome'] | { readonly kind: 'begun' };
}

const DAY_MS = 86_400_000;
const SHANGHAI_MS = 28_800_000;

/** A ledger in memory, to the letter of the port. Like a disk it outlives senders. */
export class FakeLedger implements Ledger {
  readonly permits: HeldPermit[] = [];
  readonly sends = new Map<string, HeldSend>();
  /** Every send that was ever begun. */
  readonly journal: NewSend[] = [];
  readonly #spent = new Map<string, number>();
  /** Asked before each call takes effect: an error that it returns is what the call rejects with, having changed nothing. */
  failure: (call: LedgerCall) => Error | undefined = () => undefined;
  /** While set, calls wait for it before they take effect. */
  hold: Promise<void> | undefined;
  /** Called when a call has taken effect, before anybody learns of it. */
  onDone: (call: LedgerCall) => void = () => undefined;

  begin(send: NewSend): Promise<Begun> {
    return this.#call('begin', () => {
      const known = this.#byKey(send.appId, send.key);
      if (known && known.send.keyExpireTime > send.now) return this.#repeated(known, send.digest);
      if (known) this.#forget(known);
      if (this.spent(send.appId, send.quota.day) >= send.quota.limit) return { kind: 'over_quota' };
      const permit = this.#find(send.appId, send.permit, send.now);
      if (permit === 'taken' || (permit === null && send.permit.kind === 'form')) return { kind: 'no_permit' };
      if (permit) permit.reserved++;
      else if (send.permit.kind === 'named') this.#note(send.appId, send.permit.value, send.now);
      this.#spend(send, 1);
      this.journal.push(send);
      this.sends.set(send.sendId, { send, permit, outcome: { kind: 'begun' } });
      return { kind: 'begun', permit: drawn(permit) };
    });
  }

  lookup({ appId, key, digest, now }: KeyQuery): Promise<KnownKey | undefined> {
    return this.#call('lookup', () => {
      const known = this.#byKey(appId, key);
      return known && known.send.keyExpireTime > now ? this.#repeated(known, digest) : undefined;
    });
  }

  redraw(sendId: string, wish: PermitWish, now: number): Promise<DrawnPermit | null> {
    return this.#call('redraw', () => {
      const held = this.#unfinished(sendId);
      if (!held) return null;
      this.#release(held, 'void');
      const permit = this.#find(held.send.appId, wish, now);
      held.permit = permit === 'taken' ? null : permit;
      if (held.permit) held.permit.reserved++;
      return drawn(held.permit);
    });
  }

  settle(sendId: string, { outcome, permit }: Settlement): Promise<void> {
    return this.#call('settle', () => {
      const held = this.#unfinished(sendId);
      if (!held) return;
      const kept = held.send.key !== '' && outcome.kind !== 'freed';
      const doubt = outcome.kind === 'unknown';
      if (!kept || permit !== 'held') this.#release(held, permit === 'held' ? 'returned' : permit, doubt);
      if (kept) held.outcome = outcome;
      else this.sends.delete(sendId);
      if (outcome.kind === 'freed') this.#spend(held.send, -1);
    });
  }

  async deposit(appId: string, permits: readonly NewPermit[], limit = Infinity): Promise<Deposit> {
    const before = [...this.permits];
    let deposited = 0;
    for (const permit of permits) {
      const { kind, value } = permit;
      const known = this.permits.find((one) => one.appId === appId && one.kind === kind && one.value === value);
      if (known && known.toUser !== '') continue;
      if (known) this.permits.splice(this.permits.indexOf(known), 1);
      this.permits.push({ ...permit, appId, reserved: 0, doubtful: known !== undefined });
      deposited++;
    }
    const held = this.permits.filter((one) => one.appId === appId && one.uses > 0).length;
    if (deposited === 0 || held <= limit) return { deposited, duplicates: permits.length - deposited };
    this.permits.splice(0, this.permits.length, ...before);
    return 'full';
  }

  async count(appId: string, toUser: string | undefined, now: number): Promise<readonly PermitTally[]> {
    const tallies = new Map<string, PermitTally>();
    for (const permit of this.permits) {
      if (permit.appId !== appId || (toUser !== undefined && permit.toUser !== toUser) || !isUsable(permit, now))
        continue;
      const { kind, expireTime, uses, reserved } = permit;
      const expireDay = expireTime === null ? null : Math.floor((expireTime + SHANGHAI_MS) / DAY_MS);
      const name = `${kind} ${expireDay}`;
      const { permits, messages } = tallies.get(name) ?? { permits: 0, messages: 0 };
      tallies.set(name, { kind, expireDay, permits: permits + 1, messages: messages + uses - reserved });
    }
    return [...tallies.values()];
  }

  async recover(): Promise<number> {
    const open = [...this.sends.values()].filter(({ outcome }) => outcome.kind === 'begun');
    for (const held of open) {
      if (held.send.key === '') this.#forget(held);
      else held.outcome = { kind: 'unknown' };
    }
    return open.length;
  }

  async purge(now: number): Promise<{ keys: number; permits: number }> {
    const expired = [...this.sends.values()].filter(({ send }) => send.key !== '' && send.keyExpireTime <= now);
    for (const held of expired) this.#forget(held);
    const permits = this.permits.filter(
      ({ expireTime, reserved }) => (expireTime ?? Infinity) <= now && reserved === 0,
    );
    for (const permit of permits) this.permits.splice(this.permits.indexOf(permit), 1);
    return { keys: expired.length, permits: permits.length };
  }

  /** How many messages count for this day. */
  spent(appId: string, day: number): number {
    return this.#spent.get(`${appId} ${day}`) ?? 0;
  }

  #spend({ appId, quota }: NewSend, count: 1 | -1): void {
    this.#spent.set(`${appId} ${quota.day}`, this.spent(appId, quota.day) + count);
  }

  async #call<T>(call: LedgerCall, act: () => T): Promise<T> {
    await this.hold;
    const failure = this.failure(call);
    if (failure) throw failure;
    const result = act();
    this.onDone(call);
    return result;
  }

  #byKey(appId: string, key: string): HeldSend | undefined {
    if (key === '') return undefined;
    for (const held of this.sends.values()) if (held.send.appId === appId && held.send.key === key) return held;
    return undefined;
  }

  #repeated({ send, outcome, permit }: HeldSend, digest: string): KnownKey {
    if (send.digest !== digest) return { kind: 'key_reused' };
    if (outcome.kind === 'sent' || outcome.kind === 'refused') return { kind: 'settled', outcome };
    const owner = outcome.kind === 'begun' ? send.owner : '';
    return { kind: 'unsettled', sendId: send.sendId, owner, startTime: send.now, permit: drawn(permit) };
  }

  #unfinished(sendId: string): HeldSend | undefined {
    const held = this.sends.get(sendId);
    return held?.outcome.kind === 'begun' || held?.outcome.kind === 'unknown' ? held : undefined;
  }

  #find(appId: string, wish: PermitWish, now: number): HeldPermit | 'taken' | null {
    if (wish.kind === 'none') return null;
    const ours = this.permits.filter((permit) => permit.appId === appId);
    if (wish.kind === 'named') {
      const named = ours.find(({ kind, value }) => kind !== 'consent' && value === wish.value);
      if (!named || named.uses === 0 || (named.expireTime ?? Infinity) <= now) return null;
      return named.reserved < named.uses ? named : 'taken';
    }
    const fits = ours.filter(({ kind, toUser, templateId }) => {
      if (toUser !== wish.toUser || (kind === 'consent') !== (wish.kind === 'consent')) return false;
      return wish.kind === 'form' || templateId === wish.templateId;
    });
    const usable = fits.filter((permit) => isUsable(permit, now));
    return usable.sort((a, b) => a.collectTime - b.collectTime)[0] ?? null;
  }

  #release(held: HeldSend, how: Exclude<Settlement['permit'], 'held'>, doubt = false): void {
    const { permit, send } = held;
    held.permit = null;
    if (!permit) return;
    permit.reserved--;
    if (how === 'returned') permit.doubtful ||= doubt;
    if (how === 'spent') permit.uses = Math.max(0, permit.uses - 1);
    if (how !== 'void') return;
    permit.uses = 0;
    if (permit.kind !== 'consent') return;
    for (const other of this.permits) {
      const { appId, kind, toUser, templateId, collectTime } = other;
      const same = appId === permit.appId && toUser === permit.toUser && templateId === permit.templateId;
      if (kind === 'consent' && same && collectTime <= send.now) other.uses = 0;
    }
  }

  /** A form that nobody deposited is in use: should it be deposited later it is doubtful. */
  #note(appId: string, value: string, now: number): void {
    if (this.permits.some((one) => one.appId === appId && one.kind === 'form_id' && one.value === value)) return;
    const times = { collectTime: now, expireTime: now + 7 * DAY_MS };
    const nobody = { toUser: '', templateId: '', uses: 0, reserved: 0, doubtful: true };
    this.permits.push({ appId, kind: 'form_id', value, ...nobody, ...times });
  }

  #forget(held: HeldSend): void {
    this.#release(held, 'returned', true);
    this.sends.delete(held.send.sendId);
  }
}

function isUsable({ uses, reserved, expireTime }: HeldPermit, now: number): boolean {
  return uses > reserved && (expireTime ?? Infinity) > now;
}

function drawn(permit: HeldPermit | null): DrawnPermit | null {
  if (!permit) return null;
  const { kind, value, doubtful } = permit;
  return { kind, value, ...(doubtful && { doubtful }) };
}
