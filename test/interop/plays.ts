import { setTimeout } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import {
  type ForceRefreshResponseSchema,
  type TokenState,
  TokenStateSchema,
  TokenStatus,
  type WatchTokenResponseSchema,
} from '../../src/gen/lingpai/v1/token_pb.js';
import { KitBroker, type Watch } from '../conformance/broker.ts';
import { idOf } from '../support/scripted.ts';

type Event = MessageInitShape<typeof WatchTokenResponseSchema>['event'];

/** What a stream sends first, and what becomes of it then. */
export interface Play {
  readonly send?: readonly Event[];
  readonly next: 'heartbeats' | 'nothing' | 'end' | ConnectError;
}

/** What calls are answered with. */
export interface Answers {
  readonly get: TokenState;
  readonly report?: MessageInitShape<typeof ForceRefreshResponseSchema> | ConnectError;
}

/** Between heartbeats, in milliseconds. */
const tickMs = 50;

/** How long a report takes, in milliseconds: long enough that others of the same token meet it. */
const reportMs = 300;

const heartbeat: Event = { case: 'heartbeat', value: {} };

/** A broker that does as it is told, for what a real one does seldom or must not do. It serves one app, and sends heartbeats. */
export async function scriptedBroker({ get, report }: Answers): Promise<KitBroker> {
  const broker = await KitBroker.start();
  broker.onGet = () => get;
  broker.onReport = async () => {
    await setTimeout(reportMs);
    if (report instanceof ConnectError) throw report;
    if (!report) throw new Error('no report was expected');
    return report;
  };
  play(broker, { next: 'heartbeats' });
  return broker;
}

/** What each stream does from now on, one that is open included. */
export function play(broker: KitBroker, { send = [], next }: Play): void {
  const begin = (watch: Watch) => {
    watch.heartbeatMs = next === 'heartbeats' ? tickMs : 0;
    for (const event of next === 'heartbeats' ? [...send, heartbeat] : send) watch.send(event);
    if (next === 'end') watch.end();
    if (next instanceof ConnectError) watch.end(next);
  };
  broker.onWatch = begin;
  for (const watch of broker.open) begin(watch);
}

/** A heartbeat and nothing else, and then what is told. */
export function afterHeartbeat(next: Play['next']): Play {
  return { send: [heartbeat], next };
}

/** Asks the client to come back after so many milliseconds. */
export function goaway(ms: number): Play {
  return { send: [{ case: 'goaway', value: { reconnectAfter: durationFromMs(ms) } }], next: 'nothing' };
}

/** Sends states, one after the other, and stays. */
export function states(...sent: TokenState[]): Play {
  return { send: sent.map((value) => ({ case: 'state', value })), next: 'heartbeats' };
}

/** A state whose token's value is `value`. */
export function state(
  appId: string,
  generation: bigint,
  value: string,
  more: { status?: TokenStatus; statusReason?: string } = {},
): TokenState {
  const current = { value, id: idOf(value) };
  return create(TokenStateSchema, { appId, generation, current, status: TokenStatus.FRESH, ...more });
}
