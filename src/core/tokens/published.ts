import { Condition } from '../kernel/condition.ts';
import type { TokenState } from './state.ts';
import { sameView } from './view.ts';

/** The newest state of an app as callers see it, and those who wait for another. */
export class Published {
  readonly #onChange: (next: TokenState, before: TokenState) => void;
  readonly #changed = new Condition();
  #state: TokenState;

  /** `onChange` gets each state that watchers should see. */
  constructor(first: TokenState, onChange: (next: TokenState, before: TokenState) => void) {
    this.#state = first;
    this.#onChange = onChange;
  }

  /** The same object until something changes. */
  get state(): TokenState {
    return this.#state;
  }

  /** Takes the state as it is now. */
  offer(next: TokenState): void {
    const before = this.#state;
    const isSame = sameView(before, next);
    if (isSame && before.nextRefreshTime === next.nextRefreshTime) return;
    this.#state = next;
    if (isSame) return;
    this.#onChange(next, before);
    this.wake();
  }

  /** Resolves at the next state that watchers should see, or when it is worth looking again. */
  next(signal: AbortSignal | undefined): Promise<void> {
    return this.#changed.wait(signal);
  }

  /** Has those who wait look again. */
  wake(): void {
    this.#changed.notifyAll();
  }
}
