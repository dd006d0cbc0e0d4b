/** How credentials are presented; `none`: not at all. */
export type Presented = 'none' | 'key' | 'certificate' | 'token';

/** Why credentials are not believed. Only the audit log gets its message, which holds no part of them. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly fault: 'missing' | 'invalid' | 'expired' | 'busy';

  constructor(fault: Refusal['fault'], cause: string) {
    super(cause);
    this.fault = fault;
  }
}
