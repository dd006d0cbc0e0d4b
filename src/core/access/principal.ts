/** How a caller was found out: not at all, by a key, by a client certificate, or by a JWT. */
export type Method = 'local' | 'key' | 'certificate' | 'token';

/** Who makes a call. */
export interface Principal {
  /**
   * The one name by which rules, logs and audits know the caller: `local`, `key:NAME`, `spiffe://...`, `dns:NAME`,
   * `k8s:ISSUER/NAMESPACE/ACCOUNT` or `jwt:ISSUER/SUB`. The prefix keeps the kinds apart.
   */
  readonly name: string;
  readonly method: Method;
  /** Names the credential that was presented, in 12 hex digits of its SHA-256; null: there was none. */
  readonly credentialId: string | null;
  /** When the credential expires, in wall-clock milliseconds since 1970; null: never. */
  readonly expireTime: number | null;
}

/** Whoever reaches a listener that asks nobody who they are. */
export const LOCAL: Principal = { name: 'local', method: 'local', credentialId: null, expireTime: null };
