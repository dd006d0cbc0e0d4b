/** Loaded into the broker beforehand: on SIGUSR2 it collects its garbage and prints what it holds, in bytes, and when it was held up by that. */
import { setImmediate } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { sharedNow } from '../support/shared-now.ts';

process.on('SIGUSR2', async () => {
  const from = sharedNow();
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await setImmediate();
  }
  // process.memoryUsage() opens a file, of which there may be none left.
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  process.stdout.write(`${JSON.stringify({ msg: 'gauge', held: used + external, from, ms: sharedNow() - from })}\n`);
});
