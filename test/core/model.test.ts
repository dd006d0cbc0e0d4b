import fc from 'fast-check';
import { it } from 'vitest';
import { Run } from './model/run.ts';
import { scenarios } from './model/scenario.ts';

/*
 * A model of the keeper: random worlds in which tokens are asked for, reported and killed, WeChat and the store fail in
 * every way they can, apps are reloaded, clocks jump and processes die, while laws are checked at every step of time
 * (model/). What they found so far is in regressions.test.ts.
 *
 * The sequences are the same at every run, 200 of them (`npm run models`: 1,000); these settings of the environment change that:
 *
 *   MODEL_RUNS=20000     as many sequences
 *   MODEL_SEED=random    others each time; or a number
 *   MODEL_PATH=12:0:3    with a seed: one sequence alone
 *
 * A failure prints its seed and path, the laws that were broken, and the shortest sequence found that breaks one. To replay:
 *
 *   MODEL_SEED=… MODEL_PATH=… npx vitest run test/core/model.test.ts
 */
const { MODEL_SEED = '2026', MODEL_PATH, MODEL_RUNS = '200' } = process.env;

it('the keeper obeys its laws, whatever happens', { timeout: 3_600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(scenarios, (scenario) => new Run(scenario).play()),
    {
      numRuns: Number(MODEL_RUNS),
      ...(MODEL_SEED === 'random' ? {} : { seed: Number(MODEL_SEED) }),
      ...(MODEL_PATH === undefined ? {} : { path: MODEL_PATH }),
    },
  );
});
