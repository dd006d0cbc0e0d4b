import { createServer, type Http2Server, type Http2ServerRequest, type Http2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  ConnectError,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type ServiceImpl,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import {
  type ForceRefreshResponseSchema,
  TokenService,
  type TokenStateSchema,
  TokenStatus,
  type WatchTokenRequest,
  type WatchTokenResponseSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { idOf } from '../support/scripted.ts';

/** What a stream sends first, and what becomes of it then. */
export interface Play {
  readonly send?: readonly MessageInitShape<typeof WatchTokenResponseSchema>[];
  readonly next: 'heartbeats' | 'nothing' | 'end' | ConnectError;
}

/** A stream that was asked for. */
export interface Watch {
  readonly request: WatchTokenRequest;
  /** The connection that it came on. */
  readonly connection: Http2Session | undefined;
  /** When, by performance.now(). */
  readonly at: number;
  /** How many it was sent. */
  heartbeats: number;
}

/** Between heartbeats, and between looks for another play, in milliseconds. */
const tickMs = 50;

/** How long a report takes, in milliseconds: long enough that others of the same token meet it. */
const reportMs = 300;

const connectionKey = createContextKey<Http2Session | undefined>(undefined);

/** A broker that does as it is told, for what a real one does seldom or must not do. It serves one app. */
export class ScriptedBroker implements AsyncDisposable {
  readonly watches: Watch[] = [];
  /** The values of the tokens that were reported. */
  readonly reports: string[] = [];
  /** What was shown with each Get: its header `authorization`. */
  readonly shown: (string | null)[] = [];
  readonly #answers: Answers;
  readonly #server: Http2Server;
  readonly #sessions = new Set<Http2Session>();
  #play: Play = { next: 'heartbeats' };

  private constructor(answers: Answers) {
    this.#answers = answers;
    this.#server = createServer(
      connectNodeAdapter({
        routes: (router) => router.service(TokenService, this.#service()),
        contextValues: (request) =>
          createContextValues().set(connectionKey, (request as Http2ServerRequest).stream.session),
      }),
    );
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.once('close', () => this.#sessions.delete(session));
    });
  }

  static async start(answers: Answers): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker(answers);
    await new Promise<void>((resolve) => broker.#server.listen(0, '127.0.0.1', resolve));
    return broker;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many connections are open. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** What each stream does from now on, one that is open included. */
  play(play: Play): void {
    this.#play = play;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const session of this.#sessions) session.destroy();
    await closed;
  }

  #service(): ServiceImpl<typeof TokenService> {
    return {
      get: (_, { requestHeader }) => {
        this.shown.push(requestHeader.get('authorization'));
        return { state: this.#answers.get };
      },
      forceRefresh: async ({ rejected }) => {
        this.reports.push(String(rejected.value));
        await setTimeout(reportMs);
        const { report } = this.#answers;
        if (report instanceof ConnectError) throw report;
        if (!report) throw new Error('no report was expected');
        return report;
      },
      watchToken: (request, context) => this.#watch(request, context),
    };
  }

  async *#watch(request: WatchTokenRequest, { values, signal }: HandlerContext) {
    const watch = { request, connection: values.get(connectionKey), at: performance.now(), heartbeats: 0 };
    this.watches.push(watch);
    while (!signal.aborted) {
      const play = this.#play;
      yield* play.send ?? [];
      if (play.next === 'end') return;
      if (play.next instanceof ConnectError) throw play.next;
      while (play === this.#play && !signal.aborted) {
        if (play.next === 'heartbeats') {
          yield heartbeat;
          watch.heartbeats++;
        }
        await setTimeout(tickMs);
      }
    }
  }
}

/** What calls are answered with. */
export interface Answers {
  readonly get: MessageInitShape<typeof TokenStateSchema>;
  readonly report?: MessageInitShape<typeof ForceRefreshResponseSchema> | ConnectError;
}

const heartbeat: MessageInitShape<typeof WatchTokenResponseSchema> = { event: { case: 'heartbeat', value: {} } };

/** A heartbeat and nothing else, and then what is told. */
export function afterHeartbeat(next: Play['next']): Play {
  return { send: [heartbeat], next };
}

/** Asks the client to come back after so many milliseconds. */
export function goaway(ms: number): Play {
  return {
    send: [{ event: { case: 'goaway', value: { reconnectAfter: durationFromMs(ms) } } }],
    next: 'nothing',
  };
}

/** Sends states, one after the other, and stays. */
export function states(...sent: MessageInitShape<typeof TokenStateSchema>[]): Play {
  return { send: sent.map((value) => ({ event: { case: 'state', value } })), next: 'heartbeats' };
}

/** A state whose token's value is `value`. */
export function state(
  appId: string,
  generation: bigint,
  value: string,
  more: { status?: TokenStatus; statusReason?: string } = {},
): MessageInitShape<typeof TokenStateSchema> {
  return { appId, generation, current: { value, id: idOf(value) }, status: TokenStatus.FRESH, ...more };
}
