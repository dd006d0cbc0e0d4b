import { LOCAL, type Principal } from '../core/access/principal.ts';
import type { Authenticate, Head } from '../transport/head.ts';

/** Everyone is `local`. */
export const asLocal: Authenticate = () => LOCAL;

/** Who came to a door: what answers at the path that was asked for, and who is to be answered, or why nobody is. */
export type Entered<Answer> =
  | { readonly answer: Answer; readonly principal: Principal }
  | { readonly answer: Answer; readonly refusal: unknown };

/** The paths of one listener. Every call enters here, once its head is read and before its body is. */
export class Door<Answer> {
  readonly #answers = new Map<string, Answer>();
  readonly #authenticate: Authenticate;

  /** Throws a TypeError when a path is listed twice. */
  constructor(answers: Iterable<readonly [path: string, answer: Answer]>, authenticate: Authenticate = asLocal) {
    for (const [path, answer] of answers) {
      if (this.#answers.has(path)) throw new TypeError(`${path} is listed twice`);
      this.#answers.set(path, answer);
    }
    this.#authenticate = authenticate;
  }

  /** Every path that is answered. */
  get paths(): readonly string[] {
    return [...this.#answers.keys()];
  }

  /** Undefined: the path is not listed, and nothing starts. */
  enter(head: Head): Entered<Answer> | undefined {
    const answer = this.#answers.get(head.path);
    if (answer === undefined) return undefined;
    try {
      return { answer, principal: this.#authenticate(head) };
    } catch (refusal) {
      return { answer, refusal };
    }
  }
}
