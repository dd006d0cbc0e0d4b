import type { Life } from './life.ts';

/** The steps of a mint at which something may happen to the process that makes it. */
export const STEPS = [
  'intent leaving',
  'intent stored',
  'intent answered',
  'mint leaving',
  'mint made',
  'mint answered',
  'outcome leaving',
  'outcome stored',
  'outcome answered',
] as const;

/** One of them. `leaving`: written, but perhaps not sent. `answered`: arrived, but not yet read. */
export type Step = (typeof STEPS)[number];

/** Told when a process has come to a step of a mint. */
export type OnStep = (step: Step, appId: string, life: Life) => void;
