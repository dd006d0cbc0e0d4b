import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { oldestQuotaDay } from '../core/kernel/quota-day.ts';

/** How many messages each app has sent on which day. Each method is part of its caller's transaction. */
export class Quota {
  readonly #select: StatementSync;
  readonly #spend: StatementSync;
  readonly #giveBack: StatementSync;
  readonly #purge: StatementSync;

  constructor(db: DatabaseSync) {
    this.#select = db.prepare('SELECT sends FROM quota WHERE app_id = ? AND day = ?');
    this.#spend = db.prepare(
      'INSERT INTO quota (app_id, day, sends) VALUES (?, ?, 1) ON CONFLICT (app_id, day) DO UPDATE SET sends = sends + 1',
    );
    this.#giveBack = db.prepare('UPDATE quota SET sends = max(sends - 1, 0) WHERE app_id = ? AND day = ?');
    this.#purge = db.prepare('DELETE FROM quota WHERE day < ?');
  }

  /** How many messages count for this day. */
  spent(appId: string, day: number): number {
    return Number(this.#select.get(appId, day)?.['sends'] ?? 0);
  }

  /** Counts one more. */
  spend(appId: string, day: number): void {
    this.#spend.run(appId, day);
  }

  /** Counts one fewer. */
  giveBack(appId: string, day: number): void {
    this.#giveBack.run(appId, day);
  }

  /** Forgets days that have certainly ended, wherever in the day they begin. */
  purge(now: number): void {
    this.#purge.run(oldestQuotaDay(now));
  }
}
