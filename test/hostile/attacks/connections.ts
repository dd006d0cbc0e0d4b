import { tokenClient } from '../../../src/commands/client.ts';
import { ForceRefreshOutcome } from '../../../src/gen/lingpai/v1/token_pb.js';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { APP } from '../siege.ts';
import { http2Session, type OpenCall, open, Wire } from '../strangers.ts';

/** So few that a stranger can use them up. */
const FILES = 256;
const MANY = 400;
const PEERS = 20;
/** Within this time a connection that says nothing, or too little, is ended. */
const ENDED_MS = 25_000;
const REFUSED_MS = 5_000;
const PART_BYTES = 900_000;

/** Opens connections until all are in or refused. Resolves with them. */
async function flood({ held }: Scene, address: string, count: number, from: (i: number) => string): Promise<Wire[]> {
  const wires = Array.from({ length: count }, (_, i) => held.use(new Wire(address, from(i)).read()));
  await Promise.all(wires.map((wire) => wire.settled()));
  return wires;
}

function isOpen(wires: readonly Wire[]): number {
  return wires.filter(({ open }) => open).length;
}

/** Has the broker ask WeChat for another token, as an operator would. `client`: connected before. */
async function refreshes(client: ReturnType<typeof tokenClient>, check: Scene['check']): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  const outcome = await client.forceRefresh({ appId: APP }, { signal }).then(
    (answer) => ForceRefreshOutcome[answer.outcome],
    (error: Error) => error.message,
  );
  check(outcome === 'REFRESHED', `WeChat can be asked for a token meanwhile: REFRESHED, not ${outcome}`);
}

/** Connections, and what comes on them too slowly. */
export const connections: readonly Attack[] = [
  {
    name: 'connections: 400 to each port from one address',
    files: FILES,
    async play(scene) {
      const { grpc, http, check, log } = scene;
      const client = tokenClient(grpc);
      await client.get({ appId: APP });
      for (const address of [grpc, http]) {
        const wires = await flood(scene, address, MANY, () => '127.0.0.2');
        await until(REFUSED_MS, () => (isOpen(wires) < FILES / 2 ? undefined : 'the others are refused')).catch(
          () => {},
        );
        check(isOpen(wires) < FILES / 2, `${isOpen(wires)} of one peer are in, not at most half of ${FILES}`);
      }
      await refreshes(client, check);
      const refusals = log.filter(({ msg, level }) => level === 'warn' && /refused/.test(String(msg)));
      check(refusals.length > 0, 'a warning says that connections are refused');
      check(refusals.length <= 4, `it is not said for each of them: ${refusals.length} lines`);
    },
  },
  {
    name: 'connections: 400 to each port from 20 addresses',
    files: FILES,
    isFull: true,
    async play(scene) {
      const { grpc, http, check } = scene;
      const client = tokenClient(grpc);
      await client.get({ appId: APP });
      const wires: Wire[] = [];
      for (const address of [grpc, http])
        wires.push(...(await flood(scene, address, MANY, (i) => `127.0.0.${2 + (i % PEERS)}`)));
      const most = FILES - 64;
      await until(REFUSED_MS, () => (isOpen(wires) <= most ? undefined : 'the others are refused')).catch(() => {});
      const taken = isOpen(wires);
      check(taken <= most, `64 descriptors stay for WeChat and the store: ${taken} of ${FILES} are taken`);
      await refreshes(client, check);
    },
  },
  {
    name: 'connections: HTTP requests whose headers come a byte at a time, and none at all',
    async play(scene) {
      const { http, check } = scene;
      const slow = await flood(scene, http, 50, () => '127.0.0.2');
      const silent = await flood(scene, http, 50, () => '127.0.0.3');
      for (const wire of slow) await wire.write('GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
      const drip = setInterval(() => {
        for (const wire of slow) void wire.write('x');
      }, 500);
      scene.held.defer(() => clearInterval(drip));
      const left = () => isOpen(slow) + isOpen(silent);
      await until(ENDED_MS, () => (left() === 0 ? undefined : 'each is ended')).catch(() => {});
      check(isOpen(slow) === 0, `a request whose headers do not come is ended: ${isOpen(slow)} of 50 are not`);
      check(isOpen(silent) === 0, `a connection without a request is ended: ${isOpen(silent)} of 50 are not`);
    },
  },
  {
    name: 'connections: 200 HTTP bodies of 900 KB that do not end',
    settleMs: 90_000,
    async play(scene) {
      const { http, check } = scene;
      const part = Buffer.alloc(PART_BYTES, 'x');
      const wires = await flood(scene, http, 200, (i) => `127.0.0.${2 + (i % PEERS)}`);
      const head = `POST /lingpai.v1.TokenService/Get HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${PART_BYTES + 1}\r\n\r\n`;
      await Promise.all(wires.map(async (wire) => (await wire.write(head)) && wire.write(part)));
      const refused = () =>
        wires.filter((wire) => wire.closed || /^HTTP\/1.1 [45]/.test(wire.received.toString('latin1'))).length;
      await until(REFUSED_MS, () => (refused() > 0 ? undefined : 'some are refused')).catch(() => {});
      check(refused() > 0, 'some are refused: all together would hold 180 MB');
    },
  },
  {
    name: 'connections: 200 gRPC messages of 900 KB that do not end',
    async play({ grpc, held, check }) {
      const message = grpcMessage(Buffer.alloc(PART_BYTES, 'x'));
      message.writeUInt32BE(PART_BYTES + 1, 1);
      const calls: OpenCall[] = [];
      for (let i = 0; i < 10; i++) {
        const session = held.use(await http2Session(grpc));
        for (let j = 0; j < 20; j++) {
          const call = open(session, '/lingpai.v1.TokenService/Get');
          call.stream.write(message);
          calls.push(call);
        }
      }
      let ended = 0;
      for (const call of calls) void call.ended.then(() => ended++);
      await until(REFUSED_MS, () => (ended > 0 ? undefined : 'some are refused')).catch(() => {});
      check(ended > 0, 'some are refused: all together would hold 180 MB');
    },
  },
];
