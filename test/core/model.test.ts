import fc from 'fast-check';
import { it } from 'vitest';
import { Run } from './model/run.ts';
import { scenarios } from './model/scenario.ts';

/*
 * A model of the keeper: random worlds in which tokens are asked for, reported and killed, WeChat and the store fail in
 * every way they can, clocks jump and processes die, while laws are checked at every step of time (`model/`).
 *
 * A failure prints its seed and path, and the shortest sequence that was found to cause it. To replay it:
 *
 *     MODEL_SEED=… MODEL_PATH=… npx vitest run test/core/model.test.ts
 *
 * The same 1,000 sequences run each time, so that a change is judged by its own; MODEL_SEED chooses others, MODEL_RUNS more.
 */
const { MODEL_SEED, MODEL_PATH, MODEL_RUNS } = process.env;

it('the keeper obeys its laws, whatever happens', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(scenarios, (scenario) => new Run(scenario).play()),
    {
      numRuns: Number(MODEL_RUNS ?? 1_000),
      seed: Number(MODEL_SEED ?? 20_260_115),
      ...(MODEL_PATH ? { path: MODEL_PATH } : {}),
    },
  );
});
