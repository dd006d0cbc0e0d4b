import { readFileSync } from 'node:fs';
import type { Server as HttpServer, IncomingMessage, RequestListener } from 'node:http';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inspect } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import { UpstreamError } from '../../src/core/kernel/errors.ts';
import type { Channel, Message } from '../../src/core/messages/message.ts';
import type { Delivery } from '../../src/core/messages/ports.ts';
import type { App } from '../../src/core/tokens/ports.ts';
import type { WeChatClientOptions } from '../../src/wechat/client.ts';
import { WeChatClient } from '../../src/wechat/client.ts';
import { FakeClock } from '../support/clock.ts';

/** What must never be seen in an error. The secret changes when it is percent-encoded. */
export const SECRET = 's3cret/+of the app';
export const TOKEN = '77_the-token-value-itself';
export const PROXY_PASSWORD = 'hunter2';
export const OPENID = 'oOPENID/+of a user';
export const FORM_ID = 'form-id-of-a-user';

export const APP: App = { appId: 'wx0001', secret: SECRET, issuer: 'stable' };

/** A signal that never aborts. */
export const never = (): AbortSignal => new AbortController().signal;

/** A message by each channel, with all that the channel has. */
export const CHANNELS: { readonly [K in Channel['kind']]: Channel & { kind: K } } = {
  mini_program: { kind: 'mini_program', formId: '', emphasisKeyword: 'keyword1' },
  subscribe: { kind: 'subscribe', miniProgramState: 'trial', lang: 'en_US' },
  official_account: {
    kind: 'official_account',
    url: 'https://lingpai.test/a?b=c',
    miniProgramAppId: 'wx0002',
    miniProgramPage: 'pages/order?id=1',
  },
  subscription_notice: {
    kind: 'subscription_notice',
    miniProgramAppId: 'wx0002',
    miniProgramPage: 'pages/order?id=1',
  },
};

/** A message with its permit, as the broker hands it over. */
export function deliveryOf(
  channel: Channel,
  change: Partial<Message> = {},
  permit: Partial<Omit<Delivery, 'message'>> = {},
): Delivery {
  return {
    message: {
      appId: APP.appId,
      toUser: OPENID,
      templateId: 'T1',
      page: 'pages/index?a=b',
      data: { keyword1: { value: '订单"1"', color: '#173177' }, keyword2: { value: 'two', color: '' } },
      idempotencyKey: 'key',
      channel,
      ...change,
    },
    formId: channel.kind === 'mini_program' ? FORM_ID : '',
    clientMsgId: channel.kind === 'official_account' ? 'send-1' : '',
    ...permit,
  };
}

/** A client that is closed when the test ends. */
export function clientOf(baseUrl: string, options: Partial<WeChatClientOptions> = {}): WeChatClient {
  const client = new WeChatClient({ baseUrl, timeoutMs: 20_000, proxy: null, clock: new FakeClock(), ...options });
  onTestFinished(() => client.close());
  return client;
}

/** An HTTP server on a free port; resolves with its URL. */
export function serveHttp(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  onTestFinished(() => server.closeAllConnections());
  return listen(server);
}

/** The certificate of 127.0.0.1 that `tlsServer` shows; nobody trusts it but for `trustTestCertificate`. */
const TLS = { cert: pem('cert.pem'), key: pem('key.pem') };

function pem(name: string): string {
  return readFileSync(join(import.meta.dirname, '../store/tls', name), 'utf8');
}

/** An HTTPS server. */
export function tlsServer(listener?: RequestListener): Server & HttpServer {
  const server = createTlsServer(TLS, listener);
  onTestFinished(() => server.closeAllConnections());
  return server;
}

/** Trusts the certificate of `tlsServer` until the test ends. */
export function trustTestCertificate(): void {
  const trusted = getCACertificates();
  setDefaultCACertificates([...trusted, TLS.cert]);
  onTestFinished(() => setDefaultCACertificates(trusted));
}

/** Has an HTTP server open tunnels, as a proxy. */
export function tunnelling<T extends HttpServer>(server: T): T {
  return server.on('connect', (request: IncomingMessage, near: Socket) => {
    const [host, port] = request.url?.split(':') ?? [];
    const far = connect(Number(port), host, () => near.write('HTTP/1.1 200 OK\r\n\r\n'));
    far.on('error', () => near.destroy()).on('close', () => near.destroy());
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    near.pipe(far).pipe(near);
  });
}

/** A server that sends these bytes at a connection's first bytes, and then ends it. */
export function serveBytes(bytes: string): Promise<string> {
  return listen(
    createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(bytes));
    }),
  );
}

/** Listens on a free port of 127.0.0.1 until the test ends. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An address of this machine at which nobody listens. */
export async function nobody(): Promise<string> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

/** The whole body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** The UpstreamError with which a call fails; it must show no secret anywhere. */
export async function failureOf(call: Promise<unknown>): Promise<UpstreamError> {
  const error = await call.then(
    (value) => expect.fail(`it succeeded with ${inspect(value)}`),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UpstreamError);
  expectNoSecret(error);
  return error as UpstreamError;
}

/** Looks at everything that a log could show of an error. */
export function expectNoSecret(error: unknown): void {
  const { stack, cause } = error as Error;
  const text = [inspect(error, { depth: null, showHidden: true }), JSON.stringify(error), stack, inspect(cause)].join();
  const forms = [SECRET, OPENID].flatMap((secret) => [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams({ s: secret }).toString().slice(2),
  ]);
  for (const secret of [...forms, TOKEN, PROXY_PASSWORD, FORM_ID]) expect(text.includes(secret)).toBe(false);
}
