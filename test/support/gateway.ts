import type { IncomingMessage, ServerResponse } from 'node:http';
import { request as httpRequest } from 'node:http';
import { expect, onTestFinished } from 'vitest';
import { Authenticator } from '../../src/access/authenticator.ts';
import { knownCallers, localCallers } from '../../src/access/gateway-callers.ts';
import { Access } from '../../src/core/access/access.ts';
import { CallerLimiter } from '../../src/core/access/caller-limiter.ts';
import { Policy } from '../../src/core/access/policy.ts';
import type { Rule } from '../../src/core/access/ports.ts';
import type { ForwardedCall, Forwarding, ForwardResult } from '../../src/gateway/forwarded.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { Paths } from '../../src/gateway/paths.ts';
import type { GatewayCall, GatewayDeps } from '../../src/gateway/ports.ts';
import type { FailedCall } from '../../src/ops/gateway-log.ts';
import { takingTurns } from '../../src/ops/turns.ts';
import { startGateway } from '../../src/server/gateway.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Tls } from '../../src/server/tls.ts';
import { FakeAudit } from './access.ts';
import { keyFile, type makeKey } from './access-key.ts';
import type { FakeClock } from './clock.ts';
import { World } from './world.ts';

type Key = ReturnType<typeof makeKey>;

/** What WeChat is asked for through a gateway of a test, and says. */
export class FakeForwarder implements Forwarding {
  readonly calls: ForwardedCall[] = [];
  readonly open = 0;
  /** Answers. By default with the path. */
  answer: (request: IncomingMessage, response: ServerResponse, call: ForwardedCall) => void | Promise<void> = (
    _,
    response,
    { path },
  ) => void response.end(JSON.stringify({ errcode: 0, path }));
  result: Partial<ForwardResult> = {};

  async forward(request: IncomingMessage, response: ServerResponse, call: ForwardedCall): Promise<ForwardResult> {
    this.calls.push(call);
    await this.answer(request, response, call);
    return { outcome: 'answered', status: 200, errcode: 0, cured: false, addedMs: 0.2, reason: '', ...this.result };
  }
}

/** What a test changes. */
export interface House extends Partial<Pick<GatewayDeps, 'tokens' | 'tickets'>> {
  readonly keys?: readonly Key[];
  /** None: everyone is local. */
  readonly rules?: readonly Rule[];
  readonly callsASecond?: number;
  readonly world?: ConstructorParameters<typeof World>[0];
  readonly tls?: Tls;
}

/** A gateway that listens, before a broker on a driven clock. */
export interface Housed {
  readonly world: World;
  readonly clock: FakeClock;
  readonly url: string;
  readonly port: number;
  readonly forwarder: FakeForwarder;
  readonly audit: FakeAudit;
  readonly access: Access;
  readonly observed: GatewayCall[];
  readonly failed: FailedCall[];
  readonly faults: unknown[];
  readonly listener: Listener;
  readonly authenticated: string[];
  /** Takes other keys, or rules, into use. */
  change(change: {
    readonly keys?: readonly Key[];
    readonly rules?: readonly Rule[];
    readonly blocked?: string[];
  }): void;
}

/** Starts one, and ends it with the test. */
export async function housed(house: House = {}): Promise<Housed> {
  const world = await World.started(house.world ?? { apps: { wxc: 'classic', wxs: 'stable' } });
  const { clock } = world;
  const audit = new FakeAudit();
  const faults: unknown[] = [];
  const authenticated: string[] = [];
  const observed: GatewayCall[] = [];
  const failed: FailedCall[] = [];
  const settings = (keys: readonly Key[]) => ({
    keys: keyFile(...keys),
    tokens: [],
    clientCa: house.tls?.clientCa ?? null,
  });
  const authenticator = new Authenticator(settings(house.keys ?? []), {
    clock,
    fetchJwks: async () => expect.fail('a JWK set'),
    onFailure: (failure) => audit.record({ event: 'authn.failed', ...failure }),
    onResult: (method, result) => void authenticated.push(`${method} ${result}`),
    onFetch: () => {},
  });
  const rightsOf = (rules: readonly Rule[], blocked: string[] = []) => new Policy({ rules, blocked });
  const limiter = new CallerLimiter({ calls: house.callsASecond ?? 1_000, streams: 10 }, clock);
  const access = house.rules
    ? new Access(
        { clock, pause: takingTurns(), audit },
        { rights: rightsOf(house.rules), limiter, credentials: authenticator },
      )
    : Access.open(clock);
  const forwarder = new FakeForwarder();
  const gateway = new Gateway({
    tokens: house.tokens ?? 'standin',
    callers: house.rules ? knownCallers(authenticator) : localCallers,
    access,
    broker: world.broker,
    forwarder,
    tickets: house.tickets,
    paths: new Paths(),
    clock,
    overlapMs: world.settings.overlapMs,
    failed: (call) => void failed.push(call),
    observe: (call) => void observed.push(call),
    report: (error) => void faults.push(error),
  });
  const listener = await startGateway({
    listen: { host: '127.0.0.1', port: 0 },
    limits: { inAll: 100, perPeer: 100 },
    onRefused: () => {},
    stallTimeoutMs: 30_000,
    clock,
    gateway,
    ...(house.tls && { tls: house.tls }),
  });
  onTestFinished(async () => {
    await listener.stop();
    await world.broker.stop();
    expect(faults).toEqual([]);
  });
  const port = Number(listener.address.split(':').at(-1));
  return {
    world,
    clock,
    url: `http${house.tls ? 's' : ''}://${listener.address}`,
    port,
    forwarder,
    audit,
    access,
    observed,
    failed,
    faults,
    listener,
    authenticated,
    change({ keys, rules, blocked }) {
      if (keys) authenticator.reconfigure(settings(keys));
      if (rules) access.replace({ rights: rightsOf(rules, blocked) });
      else access.changed();
    },
  };
}

/** An answer of the gateway's: status 200 and JSON is all that SDKs take. */
export interface Answered {
  readonly errcode?: number;
  readonly errmsg?: string;
  readonly access_token?: string;
  readonly expires_in?: number;
  readonly ticket?: string;
  readonly path?: string;
}

/** Asks, and holds the answer against what every answer is. */
export async function ask(url: string, init?: RequestInit): Promise<Answered> {
  const response = await fetch(url, init);
  expect(response.status).toBe(200);
  return (await response.json()) as Answered;
}

/** `GET /cgi-bin/token`. */
export function fetchToken({ url }: Pick<Housed, 'url'>, appid: string, secret: string, more = ''): Promise<Answered> {
  const query = new URLSearchParams({ grant_type: 'client_credential', appid, secret });
  return ask(`${url}/cgi-bin/token?${query}${more}`);
}

/** `POST /cgi-bin/stable_token`. */
export function fetchStable({ url }: Pick<Housed, 'url'>, fields: object): Promise<Answered> {
  const body = JSON.stringify({ grant_type: 'client_credential', ...fields });
  return ask(`${url}/cgi-bin/stable_token`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
}

/** The bytes of an answer to a request that is written as it is. */
export function raw({ port }: Pick<Housed, 'port'>, options: Parameters<typeof httpRequest>[1]) {
  return httpRequest({ host: '127.0.0.1', port, ...options });
}

/** Lets time pass until a promise has settled, and resolves with what it did. */
export async function driven<T>({ clock }: Pick<Housed, 'clock'>, promise: Promise<T>, stepMs = 100): Promise<T> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  promise.then(over, over);
  while (!isOver) {
    // What is on its way through sockets takes turns of the loop.
    for (let i = 0; i < 20 && !isOver; i++) await new Promise((resolve) => void setImmediate(resolve));
    if (!isOver) await clock.advance(stepMs);
  }
  return await promise;
}
