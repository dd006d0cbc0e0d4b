import type { Command, Foreign } from '../support/foreign.ts';

/** A small service on its language's client library. */
export interface ServiceExample extends Foreign {
  readonly start: Command;
  /** Which of the broker's ports its library speaks to. */
  readonly speaks: 'grpc' | 'http';
  /** The exit code after SIGTERM. */
  readonly terminatedCode: number;
}

/** Every language that has a library. */
export const services: readonly ServiceExample[] = [];
