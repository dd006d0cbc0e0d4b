import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { SecureClientSessionOptions } from 'node:http2';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import type { Access } from '../../clients/node/src/options.ts';
import { formatListen, type Listen, parseListen } from '../config/listen.ts';
import { isLoopback } from '../core/kernel/web.ts';
import { Failure } from './exit.ts';
import { givenPath } from './given-path.ts';
import type { Io } from './io.ts';
import { unreadable } from './unreadable.ts';

/** The flags that say which broker is called, and how. */
export interface TargetOptions {
  /** `HOST:PORT`, `https://HOST:PORT` or `http://HOST:PORT`. */
  readonly addr: string;
  /** Files in PEM: who signs the broker's certificate; a client certificate and its key. */
  readonly ca?: string;
  readonly cert?: string;
  readonly certKey?: string;
  /** A key may go to another machine without TLS. */
  readonly plaintext?: boolean;
}

/** What a transport is made of. */
export interface Target {
  readonly baseUrl: string;
  readonly nodeOptions: SecureClientSessionOptions;
  readonly interceptors: Interceptor[];
  /** The same for the client library. */
  readonly access: Access;
}

/** Reads the flags, and the key out of LINGPAI_KEY or LINGPAI_KEY_FILE. What is wrong with them is a Failure with exit code 2. */
export function targetOf(options: TargetOptions, io: Pick<Io, 'cwd'>, env = process.env): Target {
  const { addr, plaintext = false } = options;
  const [, scheme = isForTls(options) ? 'https' : 'http', rest = ''] = /^(?:(https?):\/\/)?(.*?)\/?$/.exec(addr) ?? [];
  const listen = parseListen(rest);
  if (!listen) throw new Failure(`--addr ${addr}: write HOST:PORT, such as 127.0.0.1:7600, or https://HOST:PORT`, 2);
  const isTls = scheme === 'https';
  if (!isTls && options.cert !== undefined)
    throw new Failure(`--cert is shown by TLS only: write --addr https://${formatListen(listen)}`, 2);
  const file = (path: string) => givenPath(path, { cwd: io.cwd(), env });
  const readKey = keyReader(env, file);
  if (readKey) {
    if (!isTls && !plaintext && !isLoopback(listen.host)) throw inClear(listen);
    readKey();
  }
  return {
    baseUrl: `${scheme}://${formatListen(listen)}`,
    nodeOptions: isTls ? secured(options, file) : {},
    interceptors: readKey ? [presenting(readKey)] : [],
    access: {
      ...(isTls && { tls: filesOf(options, file) }),
      ...(readKey && { key: readKey }),
      plaintext: true, // it was looked at above
    },
  };
}

function isForTls({ ca, cert }: TargetOptions): boolean {
  return ca !== undefined || cert !== undefined;
}

function inClear(listen: Listen): Failure {
  const address = formatListen(listen);
  return new Failure(
    `the key would go to ${address} unencrypted: write --addr https://${address}, or add --plaintext where nobody can listen in between`,
    2,
  );
}

/** Reads the key anew each time that it is called: a file of a projected token changes. Undefined: there is none. */
function keyReader(env: NodeJS.ProcessEnv, file: (path: string) => string): (() => string) | undefined {
  const { LINGPAI_KEY: key, LINGPAI_KEY_FILE: path } = env;
  if (key && path) throw new Failure('LINGPAI_KEY and LINGPAI_KEY_FILE are both set: unset one of them', 2);
  if (key) return () => checked(key, 'LINGPAI_KEY');
  if (path) return () => checked(read('LINGPAI_KEY_FILE', file(path)), `LINGPAI_KEY_FILE ${file(path)}`);
  return undefined;
}

/** A key or a token, as a header can have it. */
function checked(text: string, source: string): string {
  const key = text.trim();
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new Failure(`${source} holds no key: put in it what "lingpai keys create" printed, and nothing else`, 2);
}

/** Shows a key with each call, and so at each connect. */
function presenting(readKey: () => string): Interceptor {
  return (next) => (request) => {
    try {
      request.header.set('authorization', `Bearer ${readKey()}`);
    } catch (error) {
      throw new ConnectError((error as Error).message, Code.Unauthenticated);
    }
    return next(request);
  };
}

function secured({ ca, cert, certKey }: TargetOptions, file: (path: string) => string): SecureClientSessionOptions {
  if ((cert === undefined) !== (certKey === undefined))
    throw new Failure('--cert and --cert-key belong together: name the certificate and its key', 2);
  return {
    ...(ca !== undefined && { ca: certificatesOf('--ca', file(ca)) }),
    ...(cert !== undefined && certKey !== undefined && pairOf(file(cert), file(certKey))),
  };
}

function filesOf({ ca, cert, certKey }: TargetOptions, file: (path: string) => string): Required<Access>['tls'] {
  return { ca: ca && file(ca), cert: cert && file(cert), key: certKey && file(certKey) };
}

function pairOf(certPath: string, keyPath: string): { cert: string; key: string } {
  const cert = certificatesOf('--cert', certPath);
  const key = read('--cert-key', keyPath);
  const leaf = new X509Certificate(cert);
  let isIts: boolean;
  try {
    isIts = leaf.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new Failure(
      `--cert-key ${keyPath} has no private key in PEM, or one with a passphrase: name the key of --cert`,
      2,
    );
  }
  if (!isIts) throw new Failure(`--cert-key ${keyPath} is not the key of --cert ${certPath}: name the one that is`, 2);
  if (leaf.validToDate.getTime() <= Date.now())
    throw new Failure(`--cert ${certPath} has expired at ${leaf.validToDate.toISOString()}: name a renewed one`, 2);
  return { cert, key };
}

/** A file with at least one certificate, each of which can be read: Node skips in silence those that cannot. */
function certificatesOf(flag: string, path: string): string {
  const text = read(flag, path);
  const blocks = text.split(/(?=-----BEGIN )/).filter((block) => block.startsWith('-----BEGIN '));
  try {
    if (blocks.length === 0) throw new RangeError('none');
    for (const block of blocks) new X509Certificate(block);
  } catch {
    throw new Failure(
      `${flag} ${path} is no file of whole certificates in PEM (-----BEGIN CERTIFICATE-----): name one`,
      2,
    );
  }
  return text;
}

function read(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw unreadable(flag, path, error);
  }
}
