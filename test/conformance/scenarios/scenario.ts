import assert from 'node:assert/strict';
import type { TokenState } from '../../../src/gen/lingpai/v1/token_pb.js';
import { app, type Stage, slackMs, timing } from '../stage.ts';

/** One behaviour of a library. Rejects with the first thing that is wrong. */
export interface Scenario {
  readonly number: number;
  readonly name: string;
  /** It measures: nothing else runs beside it. */
  readonly alone?: true;
  /** Only for drivers that can. */
  readonly needs?: string;
  readonly play: (stage: Stage) => Promise<void>;
}

/** Until a client that lost a stream has the next, in milliseconds. */
export const reopenMs = timing.backoffCapMs + slackMs;

/** Starts a client that holds a token. */
export async function begin(
  stage: Stage,
  client = 'a',
  generation = 1n,
  options: Readonly<Record<string, unknown>> = {},
): Promise<TokenState> {
  const state = stage.broker.state(app, generation);
  stage.broker.states.set(app, state);
  await stage.create(options, client);
  const { tokenId, generation: held } = await stage.ask('token', { client });
  assert.deepEqual([tokenId, held], [state.current?.id, String(generation)], 'the token held after the start');
  return state;
}
