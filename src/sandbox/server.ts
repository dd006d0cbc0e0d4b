import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import type { Clock, Random } from '../core/kernel/clock.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { SandboxApp } from './app.ts';
import type { CallRecord } from './calls.ts';
import { control } from './control.ts';
import type { Delivery, Faults } from './faults.ts';
import { objectionTo } from './guard.ts';
import { streamOf } from './media.ts';
import { boundaryOf } from './multipart.ts';
import { page, pageHeaders } from './page.ts';
import { type Request, toCall } from './requests.ts';
import { Uploads } from './uploads.ts';
import { SimulatedWeChat } from './wechat.ts';

/** How a sandbox is started. */
export interface SandboxOptions {
  /** Port 0 picks a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** A certificate and its key as PEM: it speaks HTTPS. Default: HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Its wall clock is WeChat's, its timers measure latency. */
  readonly clock: Clock;
  readonly random: Random;
  readonly apps: readonly SandboxApp[];
  /** Any other app id becomes an app with its first call, with any secret. Default false. */
  readonly anyApp?: boolean;
  /** Told of every call; a record holds no secret and no token value. */
  readonly log?: (record: CallRecord) => void;
}

/** A simulated WeChat that listens. */
export interface Sandbox {
  /** Where it listens, as `upstream.base_url` takes it: `http://127.0.0.1:7690`, with TLS `https://`. */
  readonly url: string;
  readonly wechat: SimulatedWeChat;
  readonly faults: Faults;
  /** Ends every connection at once, hanging ones too. */
  close(): Promise<void>;
}

/** The largest request body that is read, in bytes. */
const bodyCap = 256 * 1024;
/** More are refused: a hanging call holds its own for ever. */
const MAX_CONNECTIONS = 4_096;

/** Starts a simulated WeChat on real HTTP. Rejects with what to do when it cannot listen. */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { host, port } = options.listen;
  const wechat = new SimulatedWeChat(options);
  let isLocal = true;
  const uploads = new Uploads();
  const listener: RequestListener = (incoming, response) => {
    // A body that is not read to its end takes the socket with it.
    const { socket } = incoming;
    // Node tells of a caller that left a tick after it looked for a listener, who may have gone meanwhile.
    incoming.on('error', () => {});
    // A caller that went away while it sent its request gets no answer; anything else is for it to see.
    serve({ wechat, clock: options.clock, isLocal, uploads }, incoming, response).catch(() => socket.destroy());
  };
  const server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener);
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new Error(`the sandbox cannot listen on ${host}:${port}: ${cause.message}; choose another address`, { cause }),
      );
    });
    server.listen(port, host, resolve);
  });
  const address = server.address() as AddressInfo;
  isLocal = isLoopback(address.address);
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  let closed: Promise<void> | undefined;
  return {
    url: `${options.tls ? 'https' : 'http'}://${name}:${address.port}`,
    wechat,
    faults: wechat.faults,
    close() {
      closed ??= new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
      return closed;
    },
  };
}

/** What requests are served with. */
interface Serving {
  readonly wechat: SimulatedWeChat;
  readonly clock: Clock;
  readonly isLocal: boolean;
  readonly uploads: Uploads;
}

async function serve(serving: Serving, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const { wechat, clock, isLocal } = serving;
  const boundary = boundaryOf(incoming.headers['content-type']);
  const isUpload = boundary !== undefined && !/^\/sandbox\b/.test(incoming.url ?? '');
  if (!isUpload && Number(incoming.headers['content-length'] ?? 0) > bodyCap) {
    response.writeHead(413, { 'content-type': 'application/json', connection: 'close' });
    response.end(`${JSON.stringify({ error: `the body is too large: send at most ${bodyCap} bytes` })}\n`);
    return;
  }
  const url = new URL(`http://sandbox${incoming.url}`);
  const isControl = /^\/sandbox(\/|$)/.test(url.pathname);
  const objection = isControl && objectionTo(incoming, isLocal);
  const json = (status: number, body: object) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body, null, 2)}\n`);
  if (objection) {
    json(objection.status, { error: objection.error });
    return;
  }
  if (isUpload) {
    await serveUpload(serving, { incoming, response, url, boundary });
    return;
  }
  const body = await read(incoming);
  const ip = incoming.socket.remoteAddress ?? '';
  const origin = { path: url.pathname, query: url.search.slice(1), body: body.toString('utf8'), ip };
  if (!isUtf8(body)) {
    if (isControl) json(400, { error: 'the body is not UTF-8: send JSON in UTF-8' });
    else send(wechat.refuse(47001, origin), clock, response);
    return;
  }
  const request: Request = {
    method: incoming.method ?? '',
    url,
    body: origin.body,
    ip,
  };
  if (request.method === 'GET' && /^\/sandbox\/?$/.test(request.url.pathname)) {
    response.writeHead(200, pageHeaders).end(page(wechat, request.url.searchParams));
    return;
  }
  if (isControl) {
    const answer = control(wechat, request);
    json(answer.status, answer.body);
    return;
  }
  const call = toCall(request);
  send(typeof call === 'number' ? wechat.refuse(call, origin) : wechat.receive(call, origin), clock, response);
}

/** A multipart body: the one that uploads a file is kept, and what goes elsewhere is read and forgotten. */
async function serveUpload(
  { wechat, clock, uploads }: Serving,
  {
    incoming,
    response,
    url,
    boundary,
  }: { incoming: IncomingMessage; response: ServerResponse; url: URL; boundary: string },
): Promise<void> {
  const ip = incoming.socket.remoteAddress ?? '';
  const origin = { path: url.pathname, query: url.search.slice(1), body: '', ip };
  await uploads.take(incoming, (whole) => {
    const call =
      typeof whole === 'number'
        ? whole
        : toCall({ method: incoming.method ?? '', url, body: '', parts: { bytes: whole, boundary }, ip });
    send(typeof call === 'number' ? wechat.refuse(call, origin) : wechat.receive(call, origin), clock, response);
  });
}

async function read(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyCap) throw new Error('the request is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function send(delivery: Delivery, clock: Clock, response: ServerResponse): void {
  switch (delivery.kind) {
    case 'hang':
      return;
    case 'reset':
    case 'refused':
      response.socket?.resetAndDestroy();
      return;
    case 'answer': {
      const { status, contentType, text, media, afterMs } = delivery;
      const write = () => {
        const headers = { 'content-type': contentType };
        if (!media) return response.writeHead(status, headers).end(text);
        response.writeHead(status, {
          ...headers,
          'content-length': media.size,
          'content-disposition': `attachment; filename="${media.name}"`,
        });
        // Who leaves in the middle is no error of ours.
        return pipeline(streamOf(media), response, () => {});
      };
      if (afterMs === 0) write();
      else {
        const timer = clock.schedule(afterMs, write);
        response.on('close', () => timer.cancel());
      }
    }
  }
}
