import type { Channel } from '../core/messages/message.ts';
import type { Letter } from './message-call.ts';

/** A message that reached its user. */
export interface Delivered extends Letter {
  /** WeChat's wall-clock time in milliseconds since 1970. */
  readonly time: number;
  /** Decimal digits; more than 2^53. */
  readonly messageId: string;
  readonly channel: Channel['kind'];
}

/** Messages that an inbox keeps. */
const kept = 1_000;

/** What the users of one app have received: the last 1000 messages, and how many there were in all. */
export class Inbox {
  #last: Delivered[] = [];
  #total = 0;
  readonly #perUser = new Map<string, number>();

  /** A message arrives. */
  add(message: Delivered): void {
    if (this.#last.push(message) > kept) this.#last.shift();
    this.#total++;
    this.#perUser.set(message.toUser, (this.#perUser.get(message.toUser) ?? 0) + 1);
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
    this.#total = 0;
    this.#perUser.clear();
  }
}
