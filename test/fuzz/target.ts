import type { Draw } from './draw.ts';

/** Something that takes what others send. */
export interface Target {
  readonly name: string;
  /** Its part of all inputs. */
  readonly share: number;
  /** How many inputs are under way at once; default 1. */
  readonly atOnce?: number;
  open(): Promise<Opened>;
}

/** A target that takes inputs. */
export interface Opened extends AsyncDisposable {
  /** Makes an input and gives it to the target. Throws, or rejects with, what ought not to have come of it. */
  take(draw: Draw): void | Promise<void>;
  /** Looks whether it still does what it is for, and whether anything is left of the inputs so far. Rejects with what is wrong. */
  rest?(): Promise<void>;
}
