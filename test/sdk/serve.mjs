/**
 * The loop of a driver: a JSON line on stdin is an order, `{"op": ..., "arg": ..., "times": ...}`, and one on stdout its answer,
 * `{"event": "done", "results": [...], "failures": [...]}`. `times` calls are made at once. An SDK is what carries out the orders:
 * methods that take the argument, and whose results hold no token and no ticket.
 */
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';

/** Says what a value is without saying it. */
export const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');

export async function serve(sdk) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { op, arg, times = 1 } = JSON.parse(line);
    const calls = await Promise.allSettled(Array.from({ length: times }, async () => String(await sdk[op](arg))));
    const results = calls.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
    const failures = calls.filter(({ status }) => status === 'rejected').map(({ reason }) => String(reason));
    process.stdout.write(`${JSON.stringify({ event: 'done', results, failures })}\n`);
  }
}
