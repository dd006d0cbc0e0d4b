/** A token that the simulated WeChat has handed out. Times are its wall-clock milliseconds since 1970. */
export interface IssuedToken {
  readonly value: string;
  /** The first 12 hexadecimal digits of the value's SHA-256. */
  readonly id: string;
  readonly issuedAt: number;
  /** The end of its life as `expires_in` announced it. */
  readonly endsAt: number;
  /** From when it is refused: `endsAt`, unless it was replaced or killed before. */
  readonly diesAt: number;
}

interface Link extends IssuedToken {
  diesAt: number;
  /** A stable read returns it although it is dead. */
  stuck: boolean;
}

/** Dead tokens beyond these are forgotten. */
const kept = 16;

/**
 * The tokens of one app from one issuer: the current one, and before it those that it replaced. At most the current one and
 * the one directly before it are honoured.
 */
export class Chain {
  /** Newest first. */
  #links: Link[] = [];

  /** Every token that is still remembered, newest first. */
  get tokens(): readonly IssuedToken[] {
    return this.#links;
  }

  /**
   * Makes `token` the current one. The one before lives `overlapMs` more, but never past its own end; those before that die.
   * Returns the token that is forgotten for it, if any.
   */
  mint(token: Omit<IssuedToken, 'diesAt'>, overlapMs: number): IssuedToken | undefined {
    for (const [age, link] of this.#links.entries()) {
      link.diesAt = Math.min(link.diesAt, token.issuedAt + (age === 0 ? overlapMs : 0));
    }
    this.#links.unshift({ ...token, diesAt: token.endsAt, stuck: false });
    return this.#links.length > kept ? this.#links.pop() : undefined;
  }

  /** The current token, unless its end is `overlapMs` away or nearer, or it was killed. */
  readable(now: number, overlapMs: number): IssuedToken | undefined {
    const current = this.#links[0];
    if (!current || current.endsAt - now <= overlapMs) return undefined;
    return current.diesAt > now || current.stuck ? current : undefined;
  }

  /** Ends the life of the current token, or of all. `stuck`: reads go on returning the current one. Returns those that died. */
  kill(now: number, which: 'current' | 'all', stuck: boolean): readonly IssuedToken[] {
    const doomed = this.#links.slice(0, which === 'current' ? 1 : kept).filter((link) => link.diesAt > now);
    for (const link of doomed) {
      link.diesAt = now;
      link.stuck = stuck;
    }
    return doomed;
  }
}
