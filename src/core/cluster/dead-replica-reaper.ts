import type { MemberView } from './members.ts';

/** Has the messages settled that each dead replica left in the ledger, and repeats that until it has succeeded once. */
export class DeadReplicaReaper {
  readonly #reap: (replica: string) => Promise<void>;
  /** The dead that are being reaped, or have been. */
  readonly #dead = new Map<string, { isDone: boolean }>();

  /** Where `reap` rejects, it is called again at a later look. */
  constructor(reap: (replica: string) => Promise<void>) {
    this.#reap = reap;
  }

  /** Begins to reap the dead among the others. One that lives again and dies is reaped again. */
  look(others: readonly MemberView[]): void {
    const dead = new Set(others.filter(({ alive }) => !alive).map(({ member }) => member.replica));
    for (const name of this.#dead.keys()) if (!dead.has(name)) this.#dead.delete(name);
    for (const name of dead) {
      if (this.#dead.has(name)) continue;
      const reaping = { isDone: false };
      this.#dead.set(name, reaping);
      this.#reap(name).then(
        () => {
          reaping.isDone = true;
        },
        () => {
          if (this.#dead.get(name) === reaping) this.#dead.delete(name);
        },
      );
    }
  }

  /** Whether a dead replica may be forgotten. */
  isDone(replica: string): boolean {
    return this.#dead.get(replica)?.isDone ?? false;
  }
}
