import { readFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { type Client, Code, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { ErrorInfoSchema, RetryInfoSchema } from '../../../src/gen/google/rpc/error_details_pb.js';
import { TokenService } from '../../../src/gen/lingpai/v1/token_pb.js';
import { type Broken, Fault } from './rules.ts';

export type TransportKind = 'grpc' | 'connect';

export interface Target {
  readonly target: string;
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly keyFile?: string;
  readonly plaintext?: boolean;
}

/** One TCP connection and the client on it. `close` may be called any number of times; it leaves no socket. */
export interface Connection {
  readonly client: Client<typeof TokenService>;
  close(): void;
}

/** The codes after which somebody must mend something (R9); the last two are this client's own. */
export const SLOW = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED', 'UNIMPLEMENTED', 'TLS', 'CREDENTIALS']);

/** Where the target is, or a Configuration error that says what is wrong with it. */
export function parseTarget({ target, tls, keyFile, plaintext }: Target): URL {
  const scheme = tls?.ca !== undefined || tls?.cert !== undefined ? 'https' : 'http';
  const text = /^https?:\/\//.test(target) ? target : `${scheme}://${target}`;
  if (!URL.canParse(text))
    throw new Fault('Configuration', `target ${JSON.stringify(target)} is not HOST:PORT or a URL`);
  const url = new URL(text);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (url.protocol === 'http:' && keyFile !== undefined && plaintext !== true && !isLoopback(host)) {
    throw new Fault('Configuration', 'keyFile: a key is not sent without TLS; write https:// or set plaintext');
  }
  return url;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

let keyOfOld: string | undefined;

/** Reads the credentials, connects within `connectMs`, and shakes hands. Rejects with a Fault; `signal` ends it. */
export async function dial(
  options: Target,
  kind: TransportKind,
  connectMs: number,
  signal: AbortSignal,
  broken: Broken,
): Promise<Connection> {
  const url = parseTarget(options);
  const { key, tls } = credentials(options, broken);
  const socket = await socketTo(url, tls, kind, connectMs, signal);
  const interceptors: Interceptor[] = [];
  if (key !== undefined) {
    interceptors.push((next) => (request) => {
      request.header.set('authorization', `Bearer ${key}`);
      return next(request);
    });
  }
  const common = { baseUrl: url.origin, interceptors, readMaxBytes: 4 * 1024 * 1024 };
  if (kind === 'connect') {
    // One exchange a connection: `createConnection` has node:http use no agent.
    const nodeOptions = { createConnection: () => socket };
    const transport = createConnectTransport({ ...common, httpVersion: '1.1', nodeOptions });
    return { client: createClient(TokenService, transport), close: () => void socket.destroy() };
  }
  const sessionManager = new Http2SessionManager(url.origin, {}, { createConnection: () => socket });
  const client = createClient(TokenService, createGrpcTransport({ ...common, sessionManager }));
  return {
    client,
    close: () => {
      sessionManager.abort();
      socket.destroy();
    },
  };
}

function credentials({ tls, keyFile }: Target, broken: Broken) {
  try {
    const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path));
    let key = keyFile === undefined ? undefined : readFileSync(keyFile, 'utf8').trim();
    if (broken('credentials-read-once')) key = keyOfOld ??= key;
    return { key, tls: { ca: read(tls?.ca), cert: read(tls?.cert), key: read(tls?.key) } };
  } catch (error) {
    throw new Fault('Rpc', `a credential cannot be read: ${(error as NodeJS.ErrnoException).code}`, {
      code: 'CREDENTIALS',
    });
  }
}

function socketTo(
  url: URL,
  tls: { ca: Buffer | undefined; cert: Buffer | undefined; key: Buffer | undefined },
  kind: TransportKind,
  connectMs: number,
  signal: AbortSignal,
): Promise<Socket> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isTls = url.protocol === 'https:';
  const tcp = connectTcp({ host, port: Number(url.port || (isTls ? 443 : 80)), noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  let isShaking = false;
  const fail = (error: NodeJS.ErrnoException) => {
    const isNetwork = !isShaking || ['ECONNRESET', 'EPIPE'].includes(error.code ?? '');
    tcp.destroy();
    reject(
      new Fault('Rpc', `cannot connect: ${error.code ?? error.message}`, { code: isNetwork ? 'UNAVAILABLE' : 'TLS' }),
    );
  };
  const timer = setTimeout(() => {
    tcp.destroy();
    reject(new Fault('Rpc', 'connecting took too long', { code: 'UNAVAILABLE' }));
  }, connectMs);
  const onAbort = () => fail(new Error('aborted'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  tcp.once('error', fail);
  tcp.once('connect', () => {
    if (!isTls) return resolve(tcp);
    isShaking = true;
    const given = Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined));
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const ALPNProtocols = [kind === 'grpc' ? 'h2' : 'http/1.1'];
    const secure = connectTls({ socket: tcp, host, ...servername, ALPNProtocols, minVersion: 'TLSv1.2', ...given });
    secure.once('error', fail);
    secure.once('secureConnect', () => resolve(secure));
    return undefined;
  });
  return promise
    .then((socket) => {
      // What breaks later is the call's to tell.
      socket.on('error', () => {});
      return socket;
    })
    .finally(() => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    });
}

/** What a call threw, as a Fault: the code by its gRPC name, and what the details say. */
export function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  const known = ConnectError.from(error);
  const info = known.findDetails(ErrorInfoSchema)[0];
  const delay = known.findDetails(RetryInfoSchema)[0]?.retryDelay;
  const code = Code[known.code].replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();
  return new Fault('Rpc', known.rawMessage, {
    code: code === 'CANCELED' ? 'CANCELLED' : code,
    reason: info?.reason ?? '',
    appId: info?.metadata['app_id'] ?? '',
    retryMs: delay === undefined ? 0 : Number(delay.seconds) * 1_000 + delay.nanos / 1e6,
  });
}
