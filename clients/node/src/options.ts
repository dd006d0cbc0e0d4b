import { ConfigurationError } from './errors.ts';
import type { LingpaiEvent } from './observe.ts';

/** Milliseconds, each at least 1. For tests: an operator has no need of it. */
export interface Timing {
  /** R6: from an attempt's start, and between messages. */
  readonly silenceMs: number;
  /** R6: a connection with its TLS handshake. */
  readonly connectMs: number;
  /** A unary call. */
  readonly callMs: number;
  readonly backoffBaseMs: number;
  readonly backoffCapMs: number;
  readonly backoffFloorMs: number;
  /** R5: a stream that lived so long since its first message was a good one. */
  readonly lifeMs: number;
  readonly goawayCapMs: number;
  readonly retryCapMs: number;
  readonly slowMs: number;
  readonly slowCapMs: number;
  /** R10: how often an app that the broker does not know is asked for. */
  readonly appRetryMs: number;
}

const TIMING: Timing = {
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

/** How a broker is reached, and what is shown to it. Files are in PEM. All of it is read anew at each attempt to connect. */
export interface Access {
  /** Files: who signs the broker's certificate (absent: the system's CAs); a client certificate and its key. */
  readonly tls?: {
    readonly ca?: string | undefined;
    readonly cert?: string | undefined;
    readonly key?: string | undefined;
  };
  /** The caller's key, or a function that gives it, or a rotating token. One of `key` and `keyFile`. */
  readonly key?: string | (() => string | Promise<string>);
  /** A file that holds the key, or a token that is renewed. */
  readonly keyFile?: string;
  /** A key may go to another machine without TLS. Default false. */
  readonly plaintext?: boolean;
  readonly timing?: Partial<Timing>;
}

/** The options of `connect`. */
export interface Options extends Access {
  /** 1 to 10,000 app ids. */
  readonly apps: readonly string[];
  /** How long the start waits for a token of every app, in milliseconds. Default 10,000. */
  readonly startTimeoutMs?: number;
  /** The start returns at once; reads throw NoTokenError until a token is here. Default false. */
  readonly startOptional?: boolean;
  /** Told of what happens (R17), never of a value. What it throws is swallowed. It must not block. */
  readonly onEvent?: (event: LingpaiEvent) => void;
}

/** A broker's address and how to call it, checked. */
export interface Endpoint extends Access {
  /** HOST:PORT. */
  readonly address: string;
  readonly isTls: boolean;
  readonly timing: Timing;
}

const APP_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** The endpoint that a target and its options name. Throws ConfigurationError. */
export function endpointOf(target: string, options: Access): Endpoint {
  const { tls = {}, key, keyFile, plaintext = false } = options;
  const [, scheme, address = ''] = /^(?:(https?):\/\/)?([^/]*)\/?$/.exec(target) ?? [];
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:.]+\]|[^:[\]\s@?#]+):(\d{1,5})$/.exec(address) ?? [];
  if (!host || Number(port) < 1 || Number(port) > 65_535)
    throw new ConfigurationError('target', 'write HOST:PORT, such as 127.0.0.1:7600, or https://HOST:PORT');
  const isTls = scheme === undefined ? Boolean(tls.ca || tls.cert) : scheme === 'https';
  if (!isTls && (tls.ca || tls.cert || tls.key))
    throw new ConfigurationError('tls', `is of no use without TLS: write https://${address}`);
  if (!tls.cert !== !tls.key) throw new ConfigurationError('tls', '`cert` and `key` belong together: give both');
  if (key !== undefined && keyFile !== undefined)
    throw new ConfigurationError('keyFile', 'there is a `key` too: give one of them');
  if (typeof key === 'string') checkedKey(key, 'key');
  const hasKey = key !== undefined || keyFile !== undefined;
  if (hasKey && !isTls && !plaintext && !isLoopback(host))
    throw new ConfigurationError(
      keyFile === undefined ? 'key' : 'keyFile',
      `it would go to ${address} unencrypted: write https://${address}, or set \`plaintext\` where nobody can listen in between`,
    );
  return { ...options, address, isTls, timing: timingOf(options.timing) };
}

/** Checks what `connect` is given beside the endpoint. Throws ConfigurationError. */
export function checkApps({ apps, startTimeoutMs = 10_000 }: Options): void {
  if (!Array.isArray(apps) || apps.length < 1 || apps.length > 10_000)
    throw new ConfigurationError('apps', 'name 1 to 10,000 apps');
  for (const app of apps)
    if (typeof app !== 'string' || !APP_ID.test(app))
      throw new ConfigurationError(
        'apps',
        `${JSON.stringify(app)?.slice(0, 80)} is no app id: write 1 to 64 characters of A-Z, a-z, 0-9, - and _`,
      );
  if (!(startTimeoutMs > 0 && startTimeoutMs <= 2 ** 31 - 1))
    throw new ConfigurationError('startTimeoutMs', 'write milliseconds, more than 0');
}

/** A key as a header can have it. Throws ConfigurationError. */
export function checkedKey(text: string, option: string): string {
  const key = text.trim();
  if (/^[\x21-\x7e]{1,8192}$/.test(key)) return key;
  throw new ConfigurationError(option, 'holds no key: write what "lingpai keys create" printed, and nothing else');
}

function timingOf(given: Partial<Timing> = {}): Timing {
  for (const [name, ms] of Object.entries(given)) {
    if (!(name in TIMING))
      throw new ConfigurationError(`timing.${name}`, `unknown: there are ${Object.keys(TIMING).join(', ')}`);
    if (ms !== undefined && !(ms >= 1 && ms <= 2 ** 31 - 1))
      throw new ConfigurationError(`timing.${name}`, 'write milliseconds, at least 1');
  }
  return { ...TIMING, ...given };
}

function isLoopback(host: string): boolean {
  return /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/i.test(host);
}
