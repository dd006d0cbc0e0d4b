/** The newest unread message per key. It never grows beyond its keys: a newer message takes the older one's place in line. */
export class Mailbox<K, V> {
  /** The first in line. Most mailboxes never hold a second, and then there is no map. */
  #key: K | undefined;
  #first: V | undefined;
  #others: Map<K, V> | undefined;

  /** Puts a message, in place of an unread one of the same key. */
  put(key: K, message: V): void {
    if (this.#first === undefined || this.#key === key) {
      this.#key = key;
      this.#first = message;
    } else {
      this.#others ??= new Map();
      this.#others.set(key, message);
    }
  }

  /** The message that has waited longest, or undefined. */
  take(): V | undefined {
    const message = this.#first;
    this.#first = undefined;
    if (this.#others) this.#moveUp(this.#others);
    return message;
  }

  #moveUp(others: Map<K, V>): void {
    for (const [key, message] of others) {
      others.delete(key);
      this.#key = key;
      this.#first = message;
      break;
    }
    if (others.size === 0) this.#others = undefined;
  }
}
