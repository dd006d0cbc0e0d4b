/** Who makes a call. */
export interface Principal {
  /** The one name by which rules, logs and audits know the caller. */
  readonly name: string;
}

/** Whoever reaches a listener that asks nobody who they are. */
export const LOCAL: Principal = { name: 'local' };
