import type { Intent } from '../tokens/ports.ts';

/** The store did not answer, or not in time. */
export class StoreAwayError extends Error {
  override readonly name = 'StoreAwayError';
  /** The intent of a mint that may have been stored all the same. */
  readonly intent: Intent | undefined;

  constructor(message: string, options: { cause?: unknown; intent?: Intent | undefined } = {}) {
    super(message, { cause: options.cause });
    this.intent = options.intent;
  }
}
