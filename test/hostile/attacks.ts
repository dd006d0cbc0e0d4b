import type { Attack } from './attack.ts';
import { compression } from './attacks/compression.ts';
import { review } from './attacks/review.ts';
import { standardServices } from './attacks/standard-services.ts';

/** Every attack, in the order in which they are played. */
export const ATTACKS: readonly Attack[] = [...review, ...compression, ...standardServices];
