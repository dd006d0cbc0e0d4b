import { resolve } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { SharedStore } from '../core/cluster/ports.ts';
import type { Clock, Random } from '../core/kernel/clock.ts';
import type { Ledger } from '../core/messages/ports.ts';
import type { TicketStore } from '../core/tickets/ports.ts';
import type { Store } from '../core/tokens/ports.ts';
import { openDatabase, openMemory } from './database.ts';
import { DatabaseFile } from './database-file.ts';
import { explain } from './errors.ts';
import { GroupCommit } from './group-commit.ts';
import { Keyring } from './keyring.ts';
import { SqliteLedger } from './ledger.ts';
import { openRedis } from './redis/open.ts';
import { parseRedisUrl, type RedisUrl } from './redis/url.ts';
import { type Sealing, sealingOf } from './resealing.ts';
import type { Rows } from './rows.ts';
import { SqliteStore } from './sqlite.ts';
import { SqliteRawRecords } from './sqlite-raw-records.ts';
import { SqliteRows } from './sqlite-rows.ts';
import { SqliteTickets } from './sqlite-tickets.ts';

/** Where records are kept. `path` may be relative to the working directory. */
export type StoreUrl = { readonly kind: 'memory' } | { readonly kind: 'sqlite'; readonly path: string } | RedisUrl;

const FORMS =
  'write "sqlite:PATH" for a file, "redis://HOST" for one that several replicas share, or "memory:" for one that a restart empties';

/** Reads `store.url`, or says what is wrong with it and what to write. */
export function parseStoreUrl(url: string): StoreUrl | { readonly error: string } {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(url) ?? [];
  switch (scheme?.toLowerCase()) {
    case 'memory':
      return rest === '' ? { kind: 'memory' } : { error: 'nothing may follow "memory:"' };
    case 'sqlite':
      return parseSqlite(rest);
    case 'redis':
    case 'rediss':
      return parseRedisUrl(url);
    case 'redis+sentinel':
    case 'redis-sentinel':
    case 'redis+cluster':
    case 'redis-cluster':
      return { error: `sentinels and Redis Cluster are not supported: name the server itself; ${FORMS}` };
    default:
      return { error: `this is not the address of a store; ${FORMS}` };
  }
}

/** The apps' records: kept for this process alone, or for several replicas. */
export type Records = { readonly local: Store } | { readonly shared: SharedStore & Store };

/** What stands in one place with the apps' records. */
interface Beside {
  /** Of messages. */
  readonly ledger: Ledger;
  /** All that the ledger keeps, for copying. */
  readonly rows: Rows;
  /** Of tickets, which are records of their own. */
  readonly tickets: TicketStore;
  /** How the records of apps and tickets are sealed. */
  readonly sealing: Sealing;
  /** The files of the store, where it has some, to be looked at from time to time. */
  readonly file?: { readonly path: string; readonly trouble: DatabaseFile['trouble'] };
  /** Releases what all of it holds. No call follows. */
  close(): Promise<void>;
}

/** What is kept: the apps' records and the ledger of messages. */
export type Opened = Records & Beside;

/** The records one by one, whoever shares them. */
export function recordsOf(records: Records): Store {
  return 'shared' in records ? records.shared : records.local;
}

/** What a store needs of the world. */
export interface StoreDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of records that cannot be read and are left out. */
  readonly onDamage: (error: Error) => void;
  /** Seals the apps' records, and opens them. Default: they are not sealed. */
  readonly keyring?: Keyring;
}

/** Opens a store. Rejects with a StoreError that names it, what is wrong and what to do. */
export async function openStore(url: StoreUrl, deps: StoreDeps): Promise<Opened> {
  switch (url.kind) {
    case 'memory':
      return storeIn(openMemory(), 'memory:', deps.keyring);
    case 'sqlite': {
      const path = resolve(url.path);
      return await withFile(storeIn(openDatabase(path), path, deps.keyring), path);
    }
    case 'redis': {
      const { keyring = Keyring.plain } = deps;
      const { store: shared, tickets, raw, ledger, rows } = await openRedis(url, { ...deps, keyring });
      const sealing = sealingOf(raw, keyring, url.name);
      return { shared, tickets, ledger, rows, sealing, close: () => shared.close() };
    }
  }
}

async function withFile(opened: Opened, path: string): Promise<Opened> {
  const file = new DatabaseFile(path);
  await file.trouble();
  return { ...opened, file: { path, trouble: () => file.trouble() } };
}

/** The store and ledger in a database at the newest schema version, which errors call `name`. It is closed with them. */
export function storeIn(
  db: DatabaseSync,
  name: string,
  keyring: Keyring = Keyring.plain,
): { readonly local: Store } & Beside {
  try {
    const commits = new GroupCommit(db, name);
    const local = new SqliteStore(commits, keyring);
    const [ledger, rows] = [new SqliteLedger(commits), new SqliteRows(commits)];
    const sealing = sealingOf(new SqliteRawRecords(commits, keyring.sealing), keyring, name);
    const tickets = new SqliteTickets(commits, keyring);
    return { local, tickets, ledger, rows, sealing, close: () => local.close() };
  } catch (error) {
    db.close();
    throw explain(error, name);
  }
}

function parseSqlite(path: string): StoreUrl | { readonly error: string } {
  if (path === '') return { error: 'the path of the file is missing; write "sqlite:lingpai.db", for instance' };
  if (path === ':memory:') return { error: 'write "memory:" for a store that a restart empties' };
  // "sqlite:///var/lib/x.db" is unmistakable; in "sqlite://x.db" the file may be meant to be x.db or /x.db.
  if (/^\/\/(?!\/)/.test(path)) return { error: 'write "sqlite:PATH" without "//" before the path' };
  if (path.includes('\0')) return { error: 'the path has a NUL character; remove it' };
  return { kind: 'sqlite', path };
}
