/** The newest unread message per key. It never grows beyond its keys: a newer message takes the older one's place in line. */
export class Mailbox<K, V> {
  readonly #unread = new Map<K, V>();

  /** Puts a message, in place of an unread one of the same key. */
  put(key: K, message: V): void {
    this.#unread.set(key, message);
  }

  /** The message that has waited longest, or undefined. */
  take(): V | undefined {
    for (const [key, message] of this.#unread) {
      this.#unread.delete(key);
      return message;
    }
    return undefined;
  }
}
