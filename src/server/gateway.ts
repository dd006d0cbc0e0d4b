import type { IncomingMessage, ServerResponse } from 'node:http';
import { isLoopback } from '../core/kernel/web.ts';
import type { ConnectionLimits, Refusal } from './connections.ts';
import { Answers } from './http-answers.ts';
import { type Arrived, type Arriving, listenHttp } from './http-listener.ts';
import type { Listen, Listener, Mount } from './mount.ts';
import { pathOf } from './pages.ts';

/** What answers what comes to a gateway. */
export interface GatewayHandler {
  /** Resolves when it has. It must not reject. */
  answer(visit: Pick<Arrived, 'request' | 'response' | 'proceed'>): Promise<void>;
  /** Answers a request that the guard objects to. */
  object(response: ServerResponse, text: string): void;
}

/** What the gateway's listener needs. */
export interface GatewayOptions extends Pick<Mount, 'clock' | 'hosts' | 'refuseForwarded' | 'tls'> {
  readonly listen: Listen;
  readonly limits: ConnectionLimits;
  readonly onRefused: (refusal: Refusal) => void;
  /** How long a complete answer may stay unread. */
  readonly stallTimeoutMs: number;
  readonly gateway: GatewayHandler;
}

/**
 * Uploads take their time, and are looked at as they go. Connections are kept for longer than SDKs commonly leave them idle: a
 * request that meets the end of its connection is lost.
 */
const ARRIVAL: Arriving = {
  idleMs: 75_000,
  keepAliveMs: 65_000,
  headMs: 10_000,
  requestMs: 600_000,
  headBytes: 16_384,
};
/** For SDKs whose base URL cannot be moved: a name that is made to lead here. */
const WECHAT = 'api.weixin.qq.com';

/** Serves WeChat's own API. Rejects with an Error that names the address, and what to do, when it cannot listen. */
export async function startGateway(options: GatewayOptions): Promise<Listener> {
  const { clock, stallTimeoutMs, gateway, hosts = [] } = options;
  const answers = new Answers(clock, stallTimeoutMs);
  const serve = ({ request, response, proceed }: Arrived) => {
    gateway.answer({ request, response, proceed }).finally(() => answers.complete(response));
  };
  const listener = await listenHttp({
    ...options,
    // Beyond loopback every host is answered where none is named.
    hosts: hosts.length > 0 || isLoopback(options.listen.host) ? [...hosts, WECHAT] : [],
    setting: 'gateway.listen',
    arrival: ARRIVAL,
    pathOf: (request: IncomingMessage) => pathOf(request),
    serve,
    object({ response }, { text }) {
      gateway.object(response, text);
      answers.complete(response);
    },
  });
  return { ...listener, paths: [], setServing() {} };
}
