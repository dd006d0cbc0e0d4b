import { createServer, type IncomingMessage, type RequestListener, request as requestHttp } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import type { ForwardedCall, ForwarderDeps, ForwarderLimits, ForwardResult } from '../../src/gateway/forwarded.ts';
import { Forwarder } from '../../src/gateway/forwarder.ts';
import { BusinessApi } from '../../src/wechat/business-api.ts';
import { FakeClock } from '../support/clock.ts';
import { until } from '../support/until.ts';
import { listen } from '../wechat/support.ts';

export const APP = 'wx0000000000000001';
export const STANDIN = 'lps1.c3RhbmQtaW4_b2YtYS1jYWxsZXI-0123456789';
export const KEY = 'lpk1.the-key-of-a-caller/+';
export const SECRET = 's3cret/+of the app';

export const LIMITS: ForwarderLimits = {
  calls: 2_048,
  callsPerApp: 1_024,
  keptBytes: 8 * 1024 * 1024,
  keptBytesPerCall: 1024 * 1024,
  headersTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  tokenTimeoutMs: 5_000,
};

const SECRET_CALLS = ['/sns/jscode2session', '/sns/oauth2/access_token', '/cgi-bin/clear_quota/v2'];

/** A forwarder that listens, before an upstream. */
export interface Rig {
  readonly url: string;
  readonly port: number;
  readonly clock: FakeClock;
  readonly forwarder: Forwarder;
  readonly api: BusinessApi;
  readonly results: ForwardResult[];
  /** Tokens that were reported, and those that were minted for it. */
  readonly reports: string[];
  readonly mints: string[];
  /** The token at this moment. */
  token: string;
  /** So many calls have ended. */
  ended(count: number): Promise<readonly ForwardResult[]>;
}

/** What a test changes. */
export type Change = Partial<Omit<ForwarderDeps, 'limits'>> & {
  readonly limits?: Partial<ForwarderLimits>;
  readonly call?: Partial<ForwardedCall>;
};

/** Starts one. A report mints `token-2` and so on, once for each token. */
export async function rig(upstreamUrl: string, change: Change = {}): Promise<Rig> {
  const clock = new FakeClock();
  const api = new BusinessApi({ baseUrl: upstreamUrl, timeoutMs: 20_000, proxy: null, clock });
  onTestFinished(() => api.close());
  const results: ForwardResult[] = [];
  const reports: string[] = [];
  const mints: string[] = [];
  const { limits, call, ...deps } = change;
  const made = {
    token: 'token-1',
    results,
    reports,
    mints,
    clock,
    api,
    async ended(count: number) {
      await until(5_000, () => (results.length >= count ? undefined : `${results.length} of ${count} ended`));
      return results;
    },
  };
  const forwarder = new Forwarder({
    upstream: api,
    tokenOf: () => made.token,
    async report(_, token) {
      reports.push(token);
      if (token === made.token) {
        made.token = `token-${mints.length + 2}`;
        mints.push(made.token);
      }
      return made.token;
    },
    secretOf: () => SECRET,
    clock,
    ...deps,
    limits: { ...LIMITS, ...limits },
  });
  const server = createServer((request, response) => {
    const [path = '', query = ''] = split(request.url ?? '');
    const kind = SECRET_CALLS.includes(path) ? 'secret' : 'business';
    const credential = kind === 'secret' ? KEY : STANDIN;
    const forwarded: ForwardedCall = { appId: APP, kind, path, query, credential, ...call };
    forwarder.forward(request, response, forwarded).then((result) => results.push(result));
  });
  onTestFinished(() => server.closeAllConnections());
  const url = await listen(server);
  return Object.assign(made, { url, port: Number(new URL(url).port), forwarder });
}

function split(url: string): [string, string] {
  const at = url.indexOf('?');
  return at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at + 1)];
}

/** A scripted WeChat: what came, as it came. */
export interface Upstream {
  readonly url: string;
  readonly requests: Got[];
}

/** A request as the upstream saw it. */
export interface Got {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** An upstream that reads each request whole, and then answers. */
export async function upstream(answer: (got: Got, ...args: Parameters<RequestListener>) => void): Promise<Upstream> {
  const requests: Got[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const { method = '', url = '', rawHeaders, headers } = request;
    const got = { method, url, rawHeaders, headers, body: Buffer.concat(chunks) };
    requests.push(got);
    answer(got, request, response);
  });
  onTestFinished(() => server.closeAllConnections());
  return { url: await listen(server), requests };
}

/** Answers JSON. */
export function say(response: Parameters<RequestListener>[1], value: object): void {
  const body = JSON.stringify(value);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
}

/** An upstream of bare sockets. */
export async function rawUpstream(onSocket: (socket: Socket) => void): Promise<{ url: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
  });
  return { url: await listen(server), sockets };
}

/** An answer, whole. */
export interface Answer {
  readonly status: number;
  readonly rawHeaders: readonly string[];
  readonly headers: IncomingMessage['headers'];
  readonly trailers: NodeJS.Dict<string>;
  readonly body: Buffer;
  readonly json: { readonly errcode?: number; readonly errmsg?: string; readonly [name: string]: unknown };
}

/** How a request is made. */
export interface Ask {
  readonly method?: string;
  readonly headers?: Record<string, string | string[]> | string[];
  readonly body?: string | Buffer;
}

/** Makes a request on a connection of its own. Rejects where the answer breaks off. */
export function ask(url: string, path: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const request = requestHttp(
      { hostname, port, path, method, headers: headers as Record<string, string>, agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode = 0, rawHeaders, trailers } = response;
          const whole = Buffer.concat(chunks);
          const { headers } = response;
          resolve({
            status: statusCode,
            rawHeaders,
            headers,
            trailers,
            body: whole,
            get json() {
              return JSON.parse(whole.toString()) as Answer['json'];
            },
          });
        });
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** Writes bytes to a port, and resolves with all that came until the connection ended or `enough` was there. */
export function talk(port: number, bytes: string, enough?: RegExp): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1');
      if (enough?.test(heard)) socket.destroy();
    });
    socket.on('error', () => {}).on('close', () => resolve(heard));
    socket.write(bytes, 'latin1');
  });
}
