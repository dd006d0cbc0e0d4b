import type { Principal } from '../core/access/principal.ts';

/** How credentials are presented; `none`: not at all. */
export type Presented = 'none' | 'key' | 'certificate' | 'token';

/** Why credentials are not believed. Only the audit log gets its message, which holds no part of them. It has no stack. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly fault: 'missing' | 'invalid' | 'expired' | 'busy';
  /** Whose credential it is, where that is proven all the same: it was good, and has expired. */
  readonly owner: Principal | undefined;

  constructor(fault: Refusal['fault'], cause: string, owner?: Principal) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(cause);
    Error.stackTraceLimit = stackTraceLimit;
    this.fault = fault;
    this.owner = owner;
  }
}

/** A call that was not believed. */
export interface DisbelievedCall {
  readonly method: Presented;
  /** A fixed text, which holds nothing of what was presented. */
  readonly cause: string;
  readonly peer: string;
  /** Whose credential it is, where it has expired. */
  readonly caller?: string;
  readonly keyId?: string | null;
}
