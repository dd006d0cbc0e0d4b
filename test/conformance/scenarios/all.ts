import { calls } from './calls.ts';
import { connection } from './connection.ts';
import { end } from './end.ts';
import { pauses } from './pauses.ts';
import type { Scenario } from './scenario.ts';
import { start } from './start.ts';
import { tokens } from './tokens.ts';

/** Every scenario that is played before the scripted broker, by its number. */
export const scenarios: readonly Scenario[] = [...connection, ...pauses, ...start, ...tokens, ...calls, ...end].sort(
  (one, other) => one.number - other.number,
);
