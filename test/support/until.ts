import { setTimeout } from 'node:timers/promises';

/** Looks again and again until nothing is lacking. Rejects with what is after `ms`. */
export async function until(
  ms: number,
  lacking: () => string | undefined | Promise<string | undefined>,
): Promise<void> {
  const end = performance.now() + ms;
  for (;;) {
    const what = await lacking();
    if (what === undefined) return;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await setTimeout(20);
  }
}
