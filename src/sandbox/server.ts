import { isUtf8 } from 'node:buffer';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Clock, Random } from '../core/kernel/clock.ts';
import { isLoopback } from '../core/kernel/web.ts';
import type { SandboxApp } from './app.ts';
import type { CallRecord } from './calls.ts';
import { control } from './control.ts';
import type { Delivery, Faults } from './faults.ts';
import { objectionTo } from './guard.ts';
import { page, pageHeaders } from './page.ts';
import { type Request, toCall } from './requests.ts';
import { SimulatedWeChat } from './wechat.ts';

/** How a sandbox is started. */
export interface SandboxOptions {
  /** Port 0 picks a free one. */
  readonly listen: { readonly host: string; readonly port: number };
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
  /** Where it listens, as `upstream.base_url` takes it: `http://127.0.0.1:7690`. */
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
  const server = createServer((incoming, response) => {
    // Node tells of a caller that left a tick after it looked for a listener, who may have gone meanwhile.
    incoming.on('error', () => {});
    // A caller that went away while it sent its request gets no answer; anything else is for it to see.
    serve({ wechat, clock: options.clock, isLocal }, incoming, response).catch(() => incoming.socket.destroy());
  });
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
    url: `http://${name}:${address.port}`,
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

async function serve(
  { wechat, clock, isLocal }: { wechat: SimulatedWeChat; clock: Clock; isLocal: boolean },
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (Number(incoming.headers['content-length'] ?? 0) > bodyCap) {
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
  const body = await read(incoming);
  if (!isUtf8(body)) {
    if (isControl) json(400, { error: 'the body is not UTF-8: send JSON in UTF-8' });
    else send(wechat.refuse(47001), clock, response);
    return;
  }
  const request: Request = {
    method: incoming.method ?? '',
    url,
    body: body.toString('utf8'),
    ip: incoming.socket.remoteAddress ?? '',
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
  send(typeof call === 'number' ? wechat.refuse(call) : wechat.receive(call), clock, response);
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
      const { status, contentType, text, afterMs } = delivery;
      const write = () => response.writeHead(status, { 'content-type': contentType }).end(text);
      if (afterMs === 0) write();
      else {
        const timer = clock.schedule(afterMs, write);
        response.on('close', () => timer.cancel());
      }
    }
  }
}
