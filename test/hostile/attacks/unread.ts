import { create, toBinary } from '@bufbuild/protobuf';
import { SendTemplatesRequestSchema } from '../../../src/gen/lingpai/v1/message_pb.js';
import { GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import { END_HEADERS, END_STREAM, FrameType, frame, grpcHeaders, grpcMessage, INITIAL_WINDOW_SIZE } from '../frames.ts';
import { APP, manyApps } from '../siege.ts';
import { framesOf, happens, http2Session, http2Wire, open, Wire } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const STATUS = '/lingpai.v1.AdminService/GetStatus';
const SEND = '/lingpai.v1.MessageService/SendTemplates';
const CHECK = '/grpc.health.v1.Health/Check';
const HEALTH_WATCH = '/grpc.health.v1.Health/Watch';
const CONNECTIONS = 10;
const STREAMS = 300;
/** The broker's stall_timeout is 1 s here; the machine may be busy, and statuses give way to others. */
const RESET_MS = 30_000;
const EMPTY = grpcMessage(Buffer.alloc(0));
const get = grpcMessage(toBinary(GetRequestSchema, create(GetRequestSchema, { appId: APP })));

/** Calls on connections whose streams have no window: nothing of an answer can leave. */
async function callsWithoutWindow({ grpc, held, check }: Scene, path: string, message: Buffer): Promise<void> {
  const wires = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => held.use(await http2Wire(grpc, [INITIAL_WINDOW_SIZE, 0])).read()),
  );
  for (const wire of wires) {
    const calls = Array.from({ length: STREAMS }, (_, i) => {
      const stream = 2 * i + 1;
      const head = frame({ type: FrameType.HEADERS, flags: END_HEADERS, stream }, grpcHeaders(path));
      return Buffer.concat([head, frame({ type: FrameType.DATA, flags: END_STREAM, stream }, message)]);
    });
    await wire.write(Buffer.concat(calls));
  }
  // One that is refused ends with its headers, which no window holds up.
  const ended = (wire: Wire) =>
    wire.closed
      ? STREAMS
      : new Set(
          framesOf(wire)
            .filter(isEnd)
            .map(({ stream }) => stream),
        ).size;
  const over = (wire: Wire) => ended(wire) >= STREAMS;
  const isOver = await until(RESET_MS, () => (wires.every(over) ? undefined : 'each is reset')).then(
    () => true,
    () => false,
  );
  const resets = wires.reduce((sum, wire) => sum + ended(wire), 0);
  check(isOver, `each call whose answer nobody reads is reset: ${resets} of ${CONNECTIONS * STREAMS} are`);
}

function isEnd({ type, flags }: { type: number; flags: number }): boolean {
  return type === FrameType.RST_STREAM || (type === FrameType.HEADERS && (flags & END_STREAM) !== 0);
}

/** Answers that nobody reads. */
export const unread: readonly Attack[] = [
  { name: 'unread: 3,000 Gets', play: (scene) => callsWithoutWindow(scene, GET, get) },
  {
    name: 'unread: 3,000 statuses of 500 apps',
    settings: { apps: manyApps(500) },
    play: (scene) => callsWithoutWindow(scene, STATUS, EMPTY),
  },
  { name: 'unread: 3,000 health checks', play: (scene) => callsWithoutWindow(scene, CHECK, EMPTY) },
  { name: 'unread: 3,000 health watches', play: (scene) => callsWithoutWindow(scene, HEALTH_WATCH, EMPTY) },
  {
    name: 'unread: messages on 100 streams of SendTemplates for three seconds',
    async play({ grpc, held, check }) {
      const message = {
        appId: 'nobody',
        toUser: 'o',
        templateId: 't',
        channel: { case: 'subscribe', value: {} },
      } as const;
      const request = create(SendTemplatesRequestSchema, { correlationId: 'x'.repeat(64), message });
      const one = grpcMessage(toBinary(SendTemplatesRequestSchema, request));
      const many = Buffer.concat(Array.from({ length: 500 }, () => one));
      const session = held.use(await http2Session(grpc, { settings: { initialWindowSize: 0 } }));
      const end = performance.now() + 3_000;
      const calls = Array.from({ length: 100 }, () => open(session, SEND, {}, { unread: true }));
      const ask = async ({ stream }: (typeof calls)[number]) => {
        while (performance.now() < end && !stream.destroyed) {
          if (!stream.write(many) && !(await happens(stream, 'drain', end - performance.now()))) return;
        }
      };
      await Promise.all(calls.map(ask));
      const left = () => calls.filter(({ stream }) => !stream.destroyed).length;
      await until(RESET_MS, () => (left() === 0 ? undefined : 'each is reset')).catch(() => {});
      check(left() === 0, `each stream whose answers nobody reads is reset: ${left()} of 100 are not`);
    },
  },
  {
    name: 'unread: 16 pipelined /metrics of 2,000 apps on each of 10 HTTP connections',
    settings: { apps: manyApps(2_000) },
    async play({ http, held, check }) {
      const wires = Array.from({ length: 10 }, () => held.use(new Wire(http)));
      for (const wire of wires) {
        wire.socket.pause();
        await (await wire.settled()).write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(16));
      }
      // Whoever does not read is not told that it was cut off: writing shows it.
      const probe = (wire: Wire) => void wire.write('\r\n');
      const left = () => wires.filter((wire) => !wire.closed).length;
      await until(RESET_MS, () => {
        wires.forEach(probe);
        return left() === 0 ? undefined : 'each is ended';
      }).catch(() => {});
      check(left() === 0, `each connection whose answers nobody reads is ended: ${left()} of 10 are not`);
    },
  },
];
