import { readFile } from 'node:fs/promises';
import { ConfigurationError, RpcError } from './errors.ts';
import type { ClientEvent } from './events.ts';

/** How a client is made. */
export interface Options {
  /** The apps to hold tokens of: 1 to 10,000 ids, each 1 to 64 characters of A-Z, a-z, 0-9, `-` and `_`. */
  readonly apps: readonly string[];
  /** How long the start waits for a token of every app, in milliseconds. 10,000. */
  readonly startTimeoutMs?: number;
  /** The start returns at once; reads throw NoTokenError until a token is here. */
  readonly startOptional?: boolean;
  /** Paths of PEM files, read at each attempt. Without `ca` the system's CAs are trusted. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** An access key, or another bearer token. */
  readonly key?: string;
  /** The path of a file with it, read at each attempt. */
  readonly keyFile?: string;
  /** Gives it, asked at each attempt. */
  readonly getKey?: () => string | Promise<string>;
  /** Without TLS a key goes to loopback only, unless this is true. */
  readonly plaintext?: boolean;
  /** Told of what happens, never of a token's value. It must not block; what it throws is swallowed. */
  readonly onEvent?: (event: ClientEvent) => void;
  /** The clocks of clients/SPEC.md, in milliseconds: for tests. */
  readonly timing?: Partial<Timing>;
}

/** The clocks of a client, in milliseconds. clients/SPEC.md says what each is for. */
export interface Timing {
  readonly silenceMs: number;
  readonly connectMs: number;
  readonly callMs: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  readonly backoffFloorMs: number;
  readonly lifeMs: number;
  readonly goawayCapMs: number;
  readonly retryCapMs: number;
  readonly slowMs: number;
  readonly slowCapMs: number;
  readonly appRetryMs: number;
}

const defaults: Timing = {
  silenceMs: 25_000,
  connectMs: 5_000,
  callMs: 10_000,
  backoffBaseMs: 500,
  backoffCapMs: 10_000,
  backoffFloorMs: 100,
  lifeMs: 10_000,
  goawayCapMs: 60_000,
  retryCapMs: 300_000,
  slowMs: 30_000,
  slowCapMs: 300_000,
  appRetryMs: 60_000,
};

/** What a connection is made with. */
export interface Credentials {
  readonly authorization: string | undefined;
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
}

/** Options that have been looked at. */
export interface Settings {
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  readonly origin: string;
  readonly isTls: boolean;
  readonly apps: readonly string[];
  readonly startTimeoutMs: number;
  readonly startOptional: boolean;
  readonly timing: Timing;
  readonly onEvent: (event: ClientEvent) => void;
  /** Reads the files anew. Rejects with an RpcError that needs an operator. */
  readonly credentials: () => Promise<Credentials>;
}

/** Looks at options. Throws ConfigurationError. */
export function settingsOf(target: string, options: Options): Settings {
  const { apps, tls = {}, key, keyFile, getKey, startTimeoutMs = 10_000, startOptional = false } = options;
  const [, scheme, address = ''] = /^(?:(https?):\/\/)?([^/\s]+)\/?$/i.exec(target) ?? [];
  const isTls = scheme ? scheme.toLowerCase() === 'https' : tls.ca !== undefined || tls.cert !== undefined;
  const host = /^(\[[0-9a-f:.]+\]|[^:[\]]+):\d{1,5}$/i.exec(address)?.[1];
  if (host === undefined)
    throw new ConfigurationError(
      `target ${target} is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT`,
    );
  if (apps.length < 1 || apps.length > 10_000)
    throw new ConfigurationError(`apps has ${apps.length} ids: name 1 to 10000`);
  for (const app of apps)
    if (!/^[\w-]{1,64}$/.test(app))
      throw new ConfigurationError(
        `apps has ${JSON.stringify(app)}: an app id has 1 to 64 characters of A-Z, a-z, 0-9, - and _`,
      );
  if ([key, keyFile, getKey].filter((one) => one !== undefined).length > 1)
    throw new ConfigurationError('key, keyFile and getKey are given together: give one of them');
  if ((tls.cert === undefined) !== (tls.key === undefined))
    throw new ConfigurationError('tls.cert and tls.key belong together: give both');
  const hasKey = key !== undefined || keyFile !== undefined || getKey !== undefined;
  if (hasKey && !isTls && !options.plaintext && !isLoopback(host))
    throw new ConfigurationError(
      `the key would go to ${address} unencrypted: write https://${address}, or set plaintext where nobody can listen in between`,
    );
  if (!(startTimeoutMs > 0))
    throw new ConfigurationError(`startTimeoutMs is ${startTimeoutMs}: write a number above 0`);
  const readKey = async () =>
    keyFile === undefined ? (getKey?.() ?? key) : String(await read('keyFile', keyFile)).trim();
  return {
    origin: `${isTls ? 'https' : 'http'}://${address}`,
    isTls,
    apps: [...new Set(apps)],
    startTimeoutMs,
    startOptional,
    timing: { ...defaults, ...options.timing },
    onEvent: options.onEvent ?? (() => {}),
    credentials: async () => {
      const shown = await readKey().catch((error) => {
        throw error instanceof RpcError ? error : unreadable('getKey', error);
      });
      if (hasKey && !/^[\x21-\x7e]+$/.test(shown ?? ''))
        throw unreadable('the key', new Error(shown ? 'it has characters that a key does not have' : 'it is empty'));
      const [ca, cert, certKey] = await Promise.all(
        (['ca', 'cert', 'key'] as const).map((name) =>
          tls[name] === undefined ? undefined : read(`tls.${name}`, tls[name]),
        ),
      );
      return { authorization: shown === undefined ? undefined : `Bearer ${shown}`, ca, cert, key: certKey };
    },
  };
}

async function read(name: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw unreadable(`${name} ${path}`, error);
  }
}

function unreadable(what: string, cause: unknown): RpcError {
  const words = cause instanceof Error ? cause.message : String(cause);
  return new RpcError('UNAUTHENTICATED', `${what} cannot be read: ${words}`, { cause });
}

function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/i.test(host);
}
