/** Loaded into the broker beforehand: on SIGUSR2 it collects its garbage and prints what it holds, in bytes, and when it was held up by that. */
import { setImmediate } from 'node:timers/promises';
import { sharedNow } from '../support/shared-now.ts';

process.on('SIGUSR2', async () => {
  const from = sharedNow();
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await setImmediate();
  }
  const { heapUsed, external } = process.memoryUsage();
  process.stdout.write(
    `${JSON.stringify({ msg: 'gauge', held: heapUsed + external, from, ms: sharedNow() - from })}\n`,
  );
});
