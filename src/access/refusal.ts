/** How credentials are presented; `none`: not at all. */
export type Presented = 'none' | 'key' | 'certificate' | 'token';

/** Why credentials are not believed. Only the audit log gets its message, which holds no part of them. It has no stack. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly fault: 'missing' | 'invalid' | 'expired' | 'busy';

  constructor(fault: Refusal['fault'], cause: string) {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(cause);
    Error.stackTraceLimit = stackTraceLimit;
    this.fault = fault;
  }
}
