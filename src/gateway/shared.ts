import type { CoalescedTimers, Waiting } from '../core/kernel/coalesced-timers.ts';
import type { ForwarderDeps } from './forwarded.ts';
import type { KeptBytes } from './request-body.ts';

/** Something whose time may come. */
export class Alarm implements Waiting {
  batch: object | undefined;
  before: Waiting | undefined;
  after: Waiting | undefined;
  readonly ring: () => void;

  constructor(ring: () => void) {
    this.ring = ring;
  }
}

/** What all calls share. */
export interface Shared {
  readonly deps: ForwarderDeps;
  readonly kept: KeptBytes;
  readonly stalls: CoalescedTimers<Alarm>;
  readonly heads: CoalescedTimers<Alarm>;
}
