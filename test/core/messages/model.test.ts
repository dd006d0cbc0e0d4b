import fc from 'fast-check';
import { it } from 'vitest';
import { Run } from './model/run.ts';
import { scenarios } from './model/scenario.ts';

/*
 * A model of sending: random worlds in which users give permits, messages are sent with and without keys, requests and
 * answers are lost or late, WeChat, the tokens and the ledger fail, and processes die, before a reference WeChat that
 * keeps its own rules. Whoever is told something is told the truth; nothing is sent twice; no permit is lost (`model/`).
 *
 * A failure prints its seed and path, and the shortest sequence that was found to cause it. To replay it:
 *
 *     MODEL_SEED=… MODEL_PATH=… npx vitest run test/core/messages/model.test.ts
 *
 * MODEL_RUNS sets the number of sequences, 200 by default; `npm run models` plays 1,000.
 */
const { MODEL_SEED, MODEL_PATH, MODEL_RUNS } = process.env;

it('messages are sent at most once and told truthfully, whatever happens', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(scenarios, (scenario) => new Run(scenario).play()),
    {
      numRuns: Number(MODEL_RUNS ?? 200),
      ...(MODEL_SEED ? { seed: Number(MODEL_SEED) } : {}),
      ...(MODEL_PATH ? { path: MODEL_PATH } : {}),
    },
  );
});
