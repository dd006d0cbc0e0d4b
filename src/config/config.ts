import type { AccessPolicy } from '../core/access/ports.ts';
import type { MessageSettings } from '../core/messages/ports.ts';
import type { ReviewWords } from '../core/review/words.ts';
import type { App, Settings } from '../core/tokens/ports.ts';
import type { Listen } from './listen.ts';
import type { ConfigProblem } from './problem.ts';

/** All that was configured: checked, with defaults filled in, deeply frozen. It holds AppSecrets: never log it whole. */
export interface Config {
  /** The absolute path of the file it was read from. */
  readonly path: string;
  readonly grpc: Listen;
  /** `hosts`: names that it answers to. */
  readonly http: Listen & { readonly hosts: readonly string[] };
  /** WeChat's own API. `listen` is null where it is not served; `tokens` says what callers are given as access_token. */
  readonly gateway: { readonly listen: Listen | null; readonly tokens: 'standin' | 'real' };
  /** `memory:`, `sqlite:` and an absolute path, or a redis URL, which may hold a password: never log it. */
  readonly store: {
    readonly url: string;
    /** The keys that seal records, as their files have them, and `plain`; the first one seals, all open. None: as [`plain`]. */
    readonly seal: readonly string[];
  };
  /** Null: nothing is said of TLS. */
  readonly tls: TlsConfig | 'off' | null;
  /** Null: nothing is said of access; `open`: everyone may do everything, which was said on purpose. */
  readonly access: AccessConfig | 'open' | null;
  readonly audit: AuditConfig;
  /** `baseUrl` has no trailing slash. */
  readonly upstream: { readonly baseUrl: string; readonly proxy: string | null };
  readonly settings: Settings;
  /** After how long a stream whose client does not read is ended. */
  readonly watch: { readonly stallTimeoutMs: number };
  readonly messages: MessageSettings;
  /** Those that are built in, and those that the file adds. */
  readonly reviewWords: ReviewWords;
  readonly cluster: { readonly leaseMs: number; readonly pollMs: number };
  /** In the order of the file; at least one, each app id once. */
  readonly apps: readonly App[];
  /** The absolute paths of the files that nobody else may read: of secrets, keys, store.url and upstream.proxy. */
  readonly secretFiles: readonly string[];
  /** The absolute paths of the other files that were read, or will be when they are there: certificates, key file, JWK sets. */
  readonly publicFiles: readonly string[];
  /** What is right and may not be meant: for the log, and for `check`. */
  readonly warnings: readonly ConfigProblem[];
  /** All settings but the apps by their paths in the file, such as `store.url`: never log what they are. */
  readonly fixed: Readonly<Record<string, unknown>>;
}

/** What TLS is served with: PEM as the files had it, when the configuration was read. */
export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
  /** Certificates signed by these are identities; null: there are none. */
  readonly clientCa: string | null;
}

/** Who may do what, and how callers are known. */
export interface AccessConfig extends AccessPolicy {
  /** The absolute path of the key file, which `lingpai keys` writes; null: there are to be no keys. */
  readonly keysFile: string | null;
  /** Its text; null: no keys, since none is named or it does not exist yet. */
  readonly keys: string | null;
  /** The names that keys have in it; null: whoever loaded this does not know. */
  readonly keyNames: readonly string[] | null;
  readonly tokens: readonly JwtIssuerConfig[];
}

/** Whose JWTs are identities. */
export interface JwtIssuerConfig {
  /** The name that principals have it by: `k8s:NAME/...` or `jwt:NAME/...`. */
  readonly name: string;
  readonly kubernetes: boolean;
  readonly issuer: string;
  readonly audience: string;
  /** As JOSE names them: `RS256`. */
  readonly algorithms: readonly string[];
  /** The public keys: the text of a file, or where they are fetched. */
  readonly jwks:
    | { readonly text: string }
    | { readonly url: string; readonly ca: string | null; readonly tokenFile: string | null };
}

/** Where the audit log goes: `path` is absolute. */
export type AuditConfig = { readonly to: 'stdout' | 'off' } | { readonly to: 'file'; readonly path: string };
