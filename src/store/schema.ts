import { TALLY_SLOT_MS } from '../core/messages/ports.ts';

/** The ten minutes in which a permit expires. */
function slotOf(column: string): string {
  return `iif(${column} IS NULL, -1, CAST(${column} / ${TALLY_SLOT_MS} AS INTEGER))`;
}

const ADD_TO_TALLY = `
    INSERT INTO permit_tallies
      SELECT new.app_id, new.kind, ${slotOf('new.expire_time')}, 1, new.uses > new.reserved, max(new.uses - new.reserved, 0)
      WHERE new.uses > 0
      ON CONFLICT DO UPDATE SET
        held = held + 1, permits = permits + excluded.permits, messages = messages + excluded.messages;`;

const OLD_TALLY = `app_id = old.app_id AND kind = old.kind AND slot = ${slotOf('old.expire_time')}`;

const TAKE_FROM_TALLY = `
    UPDATE permit_tallies SET
        held = held - 1, permits = permits - (old.uses > old.reserved), messages = messages - max(old.uses - old.reserved, 0)
      WHERE ${OLD_TALLY} AND old.uses > 0;
    DELETE FROM permit_tallies WHERE ${OLD_TALLY} AND held = 0;`;

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
  `
  -- What the permits with uses left add up to, so that to count those of an app does not take as long as there are many. A slot
  -- is ten minutes, in which they expire; -1: never.
  CREATE TABLE permit_tallies (
    app_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    slot INTEGER NOT NULL,
    held INTEGER NOT NULL,        -- permits
    permits INTEGER NOT NULL,     -- those with a use that no send has reserved
    messages INTEGER NOT NULL,    -- the uses that no send has reserved
    PRIMARY KEY (app_id, kind, slot)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO permit_tallies
    SELECT app_id, kind, ${slotOf('expire_time')} AS slot, count(*), sum(uses > reserved), sum(max(uses - reserved, 0))
    FROM permits WHERE uses > 0 GROUP BY app_id, kind, slot;
  CREATE TRIGGER permits_added AFTER INSERT ON permits WHEN new.uses > 0 BEGIN
    ${ADD_TO_TALLY}
  END;
  CREATE TRIGGER permits_changed AFTER UPDATE ON permits WHEN old.uses > 0 OR new.uses > 0 BEGIN
    ${TAKE_FROM_TALLY}
    ${ADD_TO_TALLY}
  END;
  CREATE TRIGGER permits_removed AFTER DELETE ON permits WHEN old.uses > 0 BEGIN
    ${TAKE_FROM_TALLY}
  END;
  `,
  '-- One row at most: the key by which all is sealed that is anywhere in the file, in what it no longer uses too.\nCREATE TABLE scrubbed (key TEXT NOT NULL) STRICT',
  'CREATE TABLE ticket (app_id TEXT NOT NULL, type TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (app_id, type)) STRICT',
];
