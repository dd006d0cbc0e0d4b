import { parentPort } from 'node:worker_threads';
import { scenarioOf } from './scenario.ts';
import { Simulation } from './simulation.ts';

// Plays each seed that it is sent, and answers with the report.
parentPort?.on('message', async (seed: number) => {
  parentPort?.postMessage(await new Simulation(scenarioOf(seed)).play());
});
