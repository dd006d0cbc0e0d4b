import type { MessageSettings } from '../core/messages/ports.ts';
import type { ReviewWords } from '../core/review/words.ts';
import type { App, Settings } from '../core/tokens/ports.ts';
import type { Listen } from './listen.ts';

/** All that was configured: checked, with defaults filled in, deeply frozen. It holds AppSecrets: never log it whole. */
export interface Config {
  /** The absolute path of the file it was read from. */
  readonly path: string;
  readonly grpc: Listen;
  /** `hosts`: names that it answers to. */
  readonly http: Listen & { readonly hosts: readonly string[] };
  /** `memory:`, `sqlite:` and an absolute path, or a redis URL, which may hold a password: never log it. */
  readonly store: { readonly url: string };
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
  /** The absolute paths of the files that secrets, store.url and upstream.proxy were read from. */
  readonly secretFiles: readonly string[];
  /** All settings but the apps by their paths in the file, such as `store.url`: never log what they are. */
  readonly fixed: Readonly<Record<string, unknown>>;
}
