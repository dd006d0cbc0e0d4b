import { NOTHING_SHARED } from '../core/cluster/shared-part.ts';
import type { Clock } from '../core/kernel/clock.ts';
import type { StoredTicket, TicketStore } from '../core/tickets/ports.ts';
import { joinBudgets } from '../core/tokens/budget.ts';
import type { Intent, StoredApp } from '../core/tokens/ports.ts';
import { StoreError } from './errors.ts';
import { type Opened, recordsOf } from './open.ts';
import type { Row } from './rows.ts';

/** Whoever lives shows it in so many of its pauses, though one sign be lost, and this much for the signs themselves. */
const PAUSES = 2;
const MARGIN_MS = 1_000;

/** One side of a copy. */
export interface Side {
  /** What errors call it; without a password. */
  readonly name: string;
  readonly opened: Opened;
}

/** Of each kind of thing how many there were, and how many of them were new to the other store or changed it. */
export interface Copied {
  readonly apps: Tally;
  readonly tickets: Tally;
  readonly permits: Tally;
  readonly keys: Tally;
  readonly counts: Tally;
}

export interface Tally {
  found: number;
  copied: number;
}

/** How a copy is made. */
export interface CopyOptions {
  /** Whether a store that has apps already is written to. */
  readonly force: boolean;
  readonly clock: Clock;
  /** Called before a side is looked at for so long, in milliseconds, because replicas have left their names there. */
  readonly onWait?: (name: string, ms: number) => void;
}

/**
 * Copies the records of all apps and tickets, and the whole ledger. What is in both stores is joined so that nothing is undone: of two
 * records the one with the higher generation stays, with the greater budgets; of the ledger see Rows. So it may be repeated,
 * and be broken off. Rejects with a StoreError when one of them is in use, and, unless `force`, when `to` has apps.
 */
export async function copyStore(from: Side, to: Side, options: CopyOptions): Promise<Copied> {
  await Promise.all([from, to].map((side) => requireUnused(side, options)));
  const source = await recordsOf(from.opened).load();
  if (source.length === 0) {
    throw new StoreError(
      `${from.name} has no apps: there is nothing to copy. Look at its address, and for Redis at the prefix.`,
    );
  }
  const there = new Map((await recordsOf(to.opened).load()).map((app) => [app.appId, app]));
  if (there.size > 0 && !options.force) {
    throw new StoreError(
      `${to.name} has ${there.size} apps already. With --force what is in both is joined: the higher generation and the more used permit stay.`,
    );
  }
  const copied = { apps: tally(), tickets: tally(), permits: tally(), keys: tally(), counts: tally() };
  const of = { permit: copied.permits, send: copied.keys, quota: copied.counts } as const;
  for await (const rows of from.opened.rows.dump()) {
    for (const [kind, sum] of Object.entries(of)) {
      const some = rows.filter((row: Row) => row.row === kind);
      sum.found += some.length;
      if (some.length > 0) sum.copied += await to.opened.rows.restore(some);
    }
  }
  copied.tickets = await copyTickets(from.opened.tickets, to.opened.tickets);
  // Last, so that a copy that is broken off leaves no apps.
  for (const app of source) {
    const record = 'shared' in to.opened ? shareable(app) : ownable(app);
    const known = there.get(app.appId);
    const joined = known ? join(known, record) : record;
    copied.apps.found++;
    if (JSON.stringify(joined) === JSON.stringify(known)) continue;
    await recordsOf(to.opened).save(joined);
    copied.apps.copied++;
  }
  return copied;
}

/** Of two tickets the one that ends later stays: a new one does not end the one before. */
async function copyTickets(from: TicketStore, to: TicketStore): Promise<Tally> {
  const copied = tally();
  const nameOf = ({ appId, type }: StoredTicket) => `${appId}/${type}`;
  const there = new Map((await to.load()).map((record) => [nameOf(record), record]));
  for (const record of await from.load()) {
    const known = there.get(nameOf(record));
    copied.found++;
    if (known && (known.ticket?.expireTime ?? 0) >= (record.ticket?.expireTime ?? 0)) continue;
    await to.save(known ? { ...record, budget: joinBudgets(known.budget, record.budget) } : record);
    copied.copied++;
  }
  return copied;
}

function tally(): Tally {
  return { found: 0, copied: 0 };
}

/** Rejects with a StoreError where a broker uses the store. */
export async function requireUnused(
  { name, opened }: Side,
  { clock, onWait }: Pick<CopyOptions, 'clock' | 'onWait'>,
): Promise<void> {
  const before = await opened.rows.users();
  if (before.size === 0) return;
  const longestMs = Math.max(...[...before.values()].map(({ pauseMs }) => pauseMs));
  const waitMs = PAUSES * longestMs + MARGIN_MS;
  onWait?.(name, waitMs);
  await new Promise<void>((resolve) => clock.schedule(waitMs, resolve));
  const after = [...(await opened.rows.users())];
  const living = after.filter(([user, { sign }]) => before.get(user)?.sign !== sign).map(([user]) => user);
  if (living.length === 0) return;
  throw new StoreError(`${name} is in use by ${living.join(', ')}. Stop every broker that uses it first.`);
}

/**
 * The record for a store that replicas share. Mints of unknown fate, which one process only counts, become intents of which
 * nobody knows what became.
 */
export function shareable(app: StoredApp): StoredApp {
  if (app.shared || app.openMints === 0) return app;
  const { openMints, lastMintTime: time } = app;
  const intents = Array.from(
    { length: openMints },
    (_, i): Intent => ({ epoch: i + 1, replica: '', time, orphaned: true }),
  );
  return { ...app, shared: { ...NOTHING_SHARED, epoch: openMints, intents } };
}

/**
 * The record for a store that one process owns. Whatever made replicas doubt that their token is the newest is one more mint
 * of unknown fate: WeChat is then asked at once.
 */
export function ownable({ shared, ...app }: StoredApp): StoredApp {
  if (!shared) return app;
  const isDoubtful = shared.pendingConfirmation !== null || shared.dead;
  return { ...app, openMints: shared.intents.length + Number(isDoubtful) };
}

/** Of two records of one app the newer one, or of one token the more doubtful, with what was spent of either. */
export function join(there: StoredApp, here: StoredApp): StoredApp {
  const isSame = here.generation === there.generation;
  const isHere = isSame ? here.openMints > there.openMints : here.generation > there.generation;
  const newer = isHere ? here : there;
  const epoch = Math.max(there.shared?.epoch ?? 0, here.shared?.epoch ?? 0);
  return {
    ...newer,
    budget: joinBudgets(there.budget, here.budget),
    lastMintTime: Math.max(there.lastMintTime, here.lastMintTime),
    lastForcedTime: Math.max(there.lastForcedTime, here.lastForcedTime),
    ...(newer.shared && { shared: { ...newer.shared, epoch } }),
  };
}
