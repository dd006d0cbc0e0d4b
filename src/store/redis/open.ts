import type { Clock, Random, Timer } from '../../core/kernel/clock.ts';
import { StoreError } from '../errors.ts';
import type { Keyring } from '../keyring.ts';
import { Connection, OPEN_TIMEOUT_MS } from './connection.ts';
import { RedisLedger } from './ledger.ts';
import { RedisRawRecords } from './raw-records.ts';
import { RedisRows } from './rows.ts';
import { RedisStore } from './store.ts';
import { RedisTickets } from './tickets.ts';
import type { RedisUrl } from './url.ts';

const OLDEST_VERSION = 7;
/** How often it is asked whether the connection for hints still lives. */
const HINTS_CHECK_MS = 5_000;

/** What a store in Redis needs. */
export interface RedisDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** Told of records that cannot be read. */
  readonly onDamage: (error: StoreError) => void;
  /** Seals the apps' records, and opens them. */
  readonly keyring: Keyring;
}

/** The store and the ledger in Redis. `store.close()` closes all. */
export interface OpenedRedis {
  readonly store: RedisStore;
  readonly tickets: RedisTickets;
  readonly raw: RedisRawRecords;
  readonly ledger: RedisLedger;
  readonly rows: RedisRows;
}

/** Connects, and makes sure that it is a server that can be used. Rejects with a StoreError. */
export async function openRedis({ url, name, prefix }: RedisUrl, deps: RedisDeps): Promise<OpenedRedis> {
  const common = { url, name, clock: deps.clock, random: deps.random };
  await using undo = new AsyncDisposableStack();
  let store: RedisStore | undefined; // not there yet when the connection is lost and back at once
  const connection = await Connection.open({ ...common, onReconnected: () => store?.listener?.reconnected() });
  undo.defer(() => connection.close());
  checkServer(String(await connection.command(['INFO'], OPEN_TIMEOUT_MS)), name);
  const opened = new RedisStore({
    connection,
    name,
    prefix,
    keyring: deps.keyring,
    onDamage: deps.onDamage,
    close: () => close(),
  });
  store = opened;
  // Hints have a connection of their own: what is wrong with one is not to delay the other.
  // The client counts what it is given once, and subscribes again by itself: a new function each time would be one more.
  const changed = (appId: string) => opened.listener?.changed(appId);
  const hints = await Connection.open({
    ...common,
    onReady: (client) => client.subscribe(opened.channel, changed),
  });
  const endChecks = keepChecking(hints, deps.clock);
  const close = () => {
    endChecks();
    hints.close();
    connection.close();
  };
  undo.move();
  const place = { connection, name, prefix };
  return {
    store: opened,
    tickets: new RedisTickets({ ...place, keyring: deps.keyring, onDamage: deps.onDamage }),
    raw: new RedisRawRecords({ connection, prefix }),
    ledger: new RedisLedger(place),
    rows: new RedisRows(place),
  };
}

/** Finds out again and again whether the connection lives. Returns what ends that. */
function keepChecking(hints: Connection, clock: Clock): () => void {
  let isOver = false;
  let next: Timer | undefined;
  const later = () => {
    if (isOver) return;
    next = clock.schedule(HINTS_CHECK_MS, () => {
      hints.ping().then(later, later);
    });
  };
  later();
  return () => {
    isOver = true;
    next?.cancel();
  };
}

function checkServer(info: string, name: string): void {
  const of = (key: string) => new RegExp(`^${key}:(.*)$`, 'm').exec(info)?.[1]?.trim() ?? '';
  const refuse = (words: string) => {
    throw new StoreError(`${name} ${words}`);
  };
  const version = of('redis_version');
  if (of('redis_mode') === 'sentinel') refuse('is a sentinel. Name the primary itself in store.url.');
  if (of('cluster_enabled') === '1')
    refuse('is part of a Redis Cluster, which is not supported. Name a server that stands alone in store.url.');
  if (of('role') === 'slave') refuse('is a replica, which cannot be written. Name the primary in store.url.');
  if (Number.parseInt(version, 10) < OLDEST_VERSION)
    refuse(`is Redis ${version}. Lingpai needs Redis ${OLDEST_VERSION} or later.`);
}
