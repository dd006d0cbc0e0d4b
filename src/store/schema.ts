/**
 * Entry n takes a database from schema version n to n + 1. An entry that was released never changes.
 *
 * Times are wall-clock milliseconds since 1970, and may have fractions.
 */
export const MIGRATIONS: readonly string[] = [
  'CREATE TABLE app (app_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT',
  `
  -- One row per right to send. A used-up one stays until it expires, so that a second deposit of it is known as one.
  CREATE TABLE permits (
    id INTEGER PRIMARY KEY,
    app_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('form_id', 'prepay_id', 'consent')),
    value TEXT NOT NULL,
    to_user TEXT NOT NULL,
    template_id TEXT NOT NULL CHECK ((template_id <> '') = (kind = 'consent')),
    collect_time REAL NOT NULL,
    expire_time REAL,             -- null: never
    uses INTEGER NOT NULL CHECK (uses >= 0),         -- messages that it is still good for, reserved ones included
    reserved INTEGER NOT NULL CHECK (reserved >= 0), -- sends that name it in permit_id
    doubtful INTEGER NOT NULL DEFAULT 0 CHECK (doubtful IN (0, 1))  -- 1: a message of unknown fate may have used it
  ) STRICT;
  CREATE UNIQUE INDEX permits_by_value ON permits (app_id, value, kind);
  CREATE INDEX permits_to_draw ON permits (app_id, to_user, template_id, collect_time) WHERE uses > 0;
  CREATE INDEX permits_to_purge ON permits (expire_time) WHERE expire_time IS NOT NULL;

  -- One row per message that is under way, or whose key is kept. In the order of their arrival, and not of their random
  -- ids: messages that share a commit then share its pages, and it writes about a quarter of the bytes.
  CREATE TABLE sends (
    id INTEGER PRIMARY KEY,
    send_id TEXT NOT NULL UNIQUE,
    app_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    start_time REAL NOT NULL,
    quota_day INTEGER NOT NULL,
    permit_id INTEGER,            -- the permit that is reserved for it
    outcome TEXT,                 -- null: begun
    key TEXT,                     -- null: none
    key_expire_time REAL CHECK ((key IS NULL) = (key_expire_time IS NULL))
  ) STRICT;
  CREATE UNIQUE INDEX sends_by_key ON sends (app_id, key) WHERE key IS NOT NULL;
  CREATE INDEX sends_to_purge ON sends (key_expire_time) WHERE key_expire_time IS NOT NULL;

  CREATE TABLE quota (
    app_id TEXT NOT NULL,
    day INTEGER NOT NULL,
    sends INTEGER NOT NULL,
    PRIMARY KEY (app_id, day)
  ) STRICT, WITHOUT ROWID;
  `,
];
