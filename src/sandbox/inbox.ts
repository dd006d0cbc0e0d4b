import type { Channel } from '../core/messages/message.ts';
import { setBounded } from './bounded.ts';
import type { Letter } from './message-call.ts';

/** A message that reached its user. */
export interface Delivered extends Letter {
  /** WeChat's wall-clock time in milliseconds since 1970. */
  readonly time: number;
  /** Decimal digits; more than 2^53. */
  readonly messageId: string;
  readonly channel: Channel['kind'];
}

/** Messages that an inbox keeps, and how many characters they may hold in all. */
const kept = 1_000;
const keptCharacters = 1_000_000;

/**
 * What the users of one app have received: the last 1000 messages, or fewer where these hold more than a million characters,
 * and how many there were in all.
 */
export class Inbox {
  #last: Delivered[] = [];
  #characters = 0;
  #total = 0;
  readonly #perUser = new Map<string, number>();

  /** A message arrives. */
  add(message: Delivered): void {
    this.#last.push(message);
    this.#characters += charactersOf(message);
    while (this.#last.length > kept || (this.#characters > keptCharacters && this.#last.length > 1)) {
      const oldest = this.#last.shift();
      if (oldest) this.#characters -= charactersOf(oldest);
    }
    this.#total++;
    setBounded(this.#perUser, message.toUser, (this.#perUser.get(message.toUser) ?? 0) + 1);
  }

  /** The last 1000 messages, or those of them that one user received; newest first. */
  messages(toUser?: string): readonly Delivered[] {
    return this.#last.filter((each) => toUser === undefined || each.toUser === toUser).reverse();
  }

  /** How many messages arrived, or arrived at one user, since the inbox was cleared last. */
  count(toUser?: string): number {
    return toUser === undefined ? this.#total : (this.#perUser.get(toUser) ?? 0);
  }

  /** How many messages each user received. */
  get perUser(): ReadonlyMap<string, number> {
    return this.#perUser;
  }

  /** Empties it and counts from 0 again. */
  clear(): void {
    this.#last = [];
    this.#characters = 0;
    this.#total = 0;
    this.#perUser.clear();
  }
}

function charactersOf({ data, ...others }: Delivered): number {
  const texts = Object.values(others).filter((each) => typeof each === 'string');
  const keywords = Object.entries(data).flatMap(([name, { value, color }]) => [name, value, color]);
  return [...texts, ...keywords].reduce((sum, { length }) => sum + length, 0);
}
