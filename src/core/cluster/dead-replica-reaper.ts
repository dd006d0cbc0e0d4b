import type { MemberView } from './members.ts';

/** Has what each dead replica left seen to, until that has succeeded once. */
export class DeadReplicaReaper {
  readonly #bury: (replica: string) => Promise<void>;
  /** The dead that are being buried, or have been. */
  readonly #dead = new Map<string, { isDone: boolean }>();

  /** `bury` is called again, at a later look, for a replica for which it rejected. */
  constructor(bury: (replica: string) => Promise<void>) {
    this.#bury = bury;
  }

  /** Begins to bury the dead among the others. One that lives again will be buried again. */
  look(others: readonly MemberView[]): void {
    const dead = new Set(others.filter(({ alive }) => !alive).map(({ member }) => member.replica));
    for (const name of this.#dead.keys()) if (!dead.has(name)) this.#dead.delete(name);
    for (const name of dead) {
      if (this.#dead.has(name)) continue;
      const burial = { isDone: false };
      this.#dead.set(name, burial);
      this.#bury(name).then(
        () => {
          burial.isDone = true;
        },
        () => {
          if (this.#dead.get(name) === burial) this.#dead.delete(name);
        },
      );
    }
  }

  /** Whether a dead replica may be forgotten. */
  isDone(replica: string): boolean {
    return this.#dead.get(replica)?.isDone ?? false;
  }
}
