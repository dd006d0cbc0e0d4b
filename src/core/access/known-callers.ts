import type { Clock } from '../kernel/clock.ts';
import type { Principal } from './principal.ts';

/** One credential of a caller, and what it was used for lately. */
export interface KnownCaller {
  readonly principal: Principal;
  /** Wall-clock milliseconds since 1970. */
  readonly lastUseTime: number;
  readonly openStreams: number;
}

interface Entry {
  principal: Principal;
  lastUseTime: number;
  openStreams: number;
  /** It was used since it was last looked at to be forgotten. */
  isFresh: boolean;
  isForgotten: boolean;
}

/** How many credentials are remembered. */
export const MAX_KNOWN_CALLERS = 10_000;
/** How many are looked at for one that has not been used, before one that has is forgotten. */
const LOOKED_AT = 16;

/** Who has called lately, by credential. A certificate that is renewed, or a JWT, is another credential of the same caller. */
export class KnownCallers {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #entries = new Map<string, Entry>();
  /** The same, without a text to make at each call: a key is one object for as long as it is in the key file. */
  readonly #byPrincipal = new WeakMap<Principal, Entry>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** It makes a call. */
  used(principal: Principal): void {
    const entry = this.#entryOf(principal);
    // A certificate that is renewed with the key that it had is the same credential, and lasts longer.
    entry.principal = principal;
    entry.lastUseTime = this.#clock.now();
    entry.isFresh = true;
  }

  /** It opens a stream. Returns what is to be called once when that has ended. */
  opened(principal: Principal): () => void {
    const entry = this.#entryOf(principal);
    entry.openStreams++;
    return () => {
      entry.openStreams--;
    };
  }

  /** Those that are remembered, by name and credential. */
  list(): KnownCaller[] {
    return [...this.#entries].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => entry);
  }

  #entryOf(principal: Principal): Entry {
    const last = this.#byPrincipal.get(principal);
    if (last && !last.isForgotten) return last;
    const entry = this.#entries.get(keyOf(principal)) ?? this.#add(principal);
    this.#byPrincipal.set(principal, entry);
    return entry;
  }

  #add(principal: Principal): Entry {
    if (this.#entries.size >= MAX_KNOWN_CALLERS) this.#forgetOne();
    const entry = { principal, lastUseTime: this.#clock.now(), openStreams: 0, isFresh: true, isForgotten: false };
    this.#entries.set(keyOf(principal), entry);
    return entry;
  }

  #forgetOne(): void {
    let looks = 0;
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key);
      if (++looks === LOOKED_AT || (!entry.isFresh && entry.openStreams === 0)) {
        entry.isForgotten = true;
        return;
      }
      entry.isFresh = false;
      this.#entries.set(key, entry);
    }
  }
}

/** Names hold no line feed that matters: two credentials with one key are shown as one. */
export function keyOf({ name, credentialId }: Principal): string {
  return `${name}\n${credentialId ?? ''}`;
}
