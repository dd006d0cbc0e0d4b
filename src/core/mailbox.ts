/**
 * The newest unread message per key, read by one reader. A writer never waits and the mailbox never grows beyond its
 * keys: a newer message takes the older one's place in line.
 */
export class Mailbox<K, V> {
  readonly #unread = new Map<K, V>();
  #wake: (() => void) | undefined;

  /** Puts a message, in place of an unread one of the same key, and wakes the reader. */
  put(key: K, message: V): void {
    this.#unread.set(key, message);
    this.wake();
  }

  /** The message that has waited longest, or undefined. */
  take(): V | undefined {
    for (const [key, message] of this.#unread) {
      this.#unread.delete(key);
      return message;
    }
    return undefined;
  }

  /** Has `wake` called at the next `put`, once. */
  onNext(wake: () => void): void {
    this.#wake = wake;
  }

  /** Wakes the reader though there is no message. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
