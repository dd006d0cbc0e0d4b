import type { Member } from './ports.ts';

/** Another replica, as it was observed. */
interface Seen {
  member: Member;
  /** For how long its beat has not changed, as far as this replica was looking. */
  silentMs: number;
}

/** A member and for how long it has been silent. */
export interface MemberView {
  readonly member: Member;
  readonly silentMs: number;
  readonly alive: boolean;
}

/** A dead replica is remembered for so many leases: it may only have been stopped, or a record may still name it. */
export const LEASES_REMEMBERED = 40;

/**
 * Who else lives. Nobody's clock is trusted, nor the store's: a replica is dead when this one has looked on for a whole
 * lease without its beat changing. Time during which this replica did not look, because it was stopped or cut off, counts
 * for nothing.
 */
export class Members {
  readonly #self: string;
  readonly #leaseMs: number;
  readonly #longestGapMs: number;
  readonly #seen = new Map<string, Seen>();
  /** Replicas named in a record but missing from polls, and for how long. One that has left is dead at once. */
  readonly #absent = new Map<string, number>();
  #lookedAt: number | undefined;
  /** The replicas that lived at the last look. */
  #living: string;

  constructor(options: { self: string; leaseMs: number; pollMs: number }) {
    this.#self = options.self;
    this.#living = options.self;
    this.#leaseMs = options.leaseMs;
    this.#longestGapMs = 2 * options.pollMs;
  }

  /** Takes note of what a poll showed at a moment of monotonic time. Returns who died by it, and whether anyone came or went. */
  look(members: readonly Member[], now: number): { died: readonly string[]; changed: boolean } {
    const gapMs = this.#lookedAt === undefined ? 0 : Math.min(now - this.#lookedAt, this.#longestGapMs);
    this.#lookedAt = now;
    const died: string[] = [];
    const names = new Set(members.map((member) => member.replica));
    let isSomeoneGone = false;
    for (const [name, silentMs] of this.#absent) {
      if (names.has(name) || silentMs >= LEASES_REMEMBERED * this.#leaseMs) this.#absent.delete(name);
      else this.#absent.set(name, silentMs + gapMs);
      isSomeoneGone ||= silentMs < this.#leaseMs && silentMs + gapMs >= this.#leaseMs;
    }
    for (const name of this.#seen.keys()) {
      if (names.has(name)) continue;
      this.#seen.delete(name);
      this.#absent.set(name, this.#leaseMs);
      isSomeoneGone = true;
    }
    for (const member of members) {
      if (member.replica === this.#self) continue;
      const seen = this.#seen.get(member.replica);
      if (!seen || seen.member.beat !== member.beat) {
        this.#seen.set(member.replica, { member, silentMs: 0 });
        continue;
      }
      const wasAlive = seen.silentMs < this.#leaseMs;
      seen.silentMs += gapMs;
      if (wasAlive && seen.silentMs >= this.#leaseMs) died.push(member.replica);
    }
    const before = this.#living;
    this.#living = this.living().join();
    return { died, changed: isSomeoneGone || before !== this.#living };
  }

  /** Whether this is the name of another replica that lives. An unknown one counts as alive: it may have just begun. */
  isOther(replica: string): boolean {
    if (replica === this.#self || replica === '') return false;
    const seen = this.#seen.get(replica);
    if (seen) return seen.silentMs < this.#leaseMs;
    // A dead replica that a record still names is not forgotten: it would count as alive for another lease.
    const silentMs = Math.min(this.#absent.get(replica) ?? 0, this.#leaseMs);
    this.#absent.set(replica, silentMs);
    return silentMs < this.#leaseMs;
  }

  /** Takes note of a sign of life from elsewhere: the replica counts as alive for a whole lease from now on. */
  heard(replica: string): void {
    const seen = this.#seen.get(replica);
    if (seen) seen.silentMs = 0;
    else if (replica !== this.#self) this.#absent.set(replica, 0);
  }

  /** The names of all that live, this one among them. */
  living(): string[] {
    return [this.#self, ...[...this.#seen.keys()].filter((name) => this.isOther(name))].toSorted();
  }

  /** The others. */
  others(): MemberView[] {
    return [...this.#seen.values()].map(({ member, silentMs }) => ({
      member,
      silentMs,
      alive: silentMs < this.#leaseMs,
    }));
  }
}
