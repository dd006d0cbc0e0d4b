import type { Random } from '../core/kernel/clock.ts';

/** The runtime's random numbers. They spread load (jitter) and are not fit for secrets. */
export const systemRandom: Random = Math.random;
