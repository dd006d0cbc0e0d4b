import { create, toBinary } from '@bufbuild/protobuf';
import { GetRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import { until } from '../../support/until.ts';
import type { Attack, Scene } from '../attack.ts';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  FrameType,
  frame,
  grpcHeaders,
  grpcMessage,
  hpack,
  reset,
  settings,
} from '../frames.ts';
import { APP } from '../siege.ts';
import { http2Session, http2Wire, open, type Wire } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const FLOOD_MS = 2_000;
const AT_ONCE = 500;
const SESSIONS = 5;
const STREAMS = 1_000;
const ENDED_MS = 10_000;

/** Sends these frames again and again, on two connections, until the broker ends them or the time is over. Says whether it did. */
async function flood({ grpc, held }: Scene, make: (turn: number) => Buffer, reads = true): Promise<boolean> {
  const wires = await Promise.all([http2Wire(grpc), http2Wire(grpc)]);
  const end = performance.now() + FLOOD_MS;
  const send = async (wire: Wire) => {
    held.use(wire);
    // What comes is thrown away, or stays with the sender.
    if (reads) wire.socket.resume();
    else wire.socket.pause();
    for (let turn = 0; performance.now() < end; turn++) if (!(await wire.write(make(turn)))) return;
  };
  await Promise.all(wires.map(send));
  return wires.every(({ closed }) => closed);
}

function repeated(bytes: Buffer): Buffer {
  return Buffer.concat(Array.from({ length: AT_ONCE }, () => bytes));
}

const ping = repeated(frame({ type: FrameType.PING, flags: 0, stream: 0 }, Buffer.alloc(8)));
const pong = repeated(frame({ type: FrameType.PING, flags: ACK, stream: 0 }, Buffer.alloc(8)));
const manySettings = repeated(settings([4, 65_535], [3, 100]));
const priorities = repeated(frame({ type: FrameType.PRIORITY, flags: 0, stream: 1 }, Buffer.from([0, 0, 0, 0, 16])));
const unknownFrames = repeated(frame({ type: 0xbe, flags: 0xff, stream: 1 }, Buffer.alloc(64)));
const windows = repeated(frame({ type: FrameType.WINDOW_UPDATE, flags: 0, stream: 0 }, Buffer.from([0, 0, 0, 1])));

/** HTTP/2 frames that no client library sends so. */
export const http2: readonly Attack[] = [
  {
    name: 'http2: calls that are reset at once',
    async play(scene) {
      const head = grpcHeaders(GET);
      await flood(scene, (turn) =>
        Buffer.concat(
          Array.from({ length: AT_ONCE }, (_, i) => {
            const stream = 2 * (turn * AT_ONCE + i) + 1;
            return Buffer.concat([frame({ type: FrameType.HEADERS, flags: END_HEADERS, stream }, head), reset(stream)]);
          }),
        ),
      );
    },
  },
  {
    name: 'http2: whole calls that are reset before their answer',
    async play(scene) {
      const head = grpcHeaders(GET);
      const message = grpcMessage(
        toBinary(GetRequestSchema, create(GetRequestSchema, { appId: APP, minGeneration: 9_007_199_254_740_991n })),
      );
      await flood(scene, (turn) =>
        Buffer.concat(
          Array.from({ length: AT_ONCE }, (_, i) => {
            const stream = 2 * (turn * AT_ONCE + i) + 1;
            const begin = frame({ type: FrameType.HEADERS, flags: END_HEADERS, stream }, head);
            const body = frame({ type: FrameType.DATA, flags: END_STREAM, stream }, message);
            return Buffer.concat([begin, body, reset(stream)]);
          }),
        ),
      );
    },
  },
  {
    name: 'http2: headers that never end (CONTINUATION)',
    async play(scene) {
      const block = hpack(Array.from({ length: 100 }, (_, i) => [`x-${i}`, 'y'.repeat(100)] as const));
      const first = frame({ type: FrameType.HEADERS, flags: 0, stream: 1 }, grpcHeaders(GET));
      const next = Buffer.concat(
        Array.from({ length: 20 }, () => frame({ type: FrameType.CONTINUATION, flags: 0, stream: 1 }, block)),
      );
      const isEnded = await flood(scene, (turn) => (turn === 0 ? Buffer.concat([first, next]) : next));
      scene.check(isEnded, 'the connection is ended');
    },
  },
  {
    name: 'http2: headers of 1 MB, and 10,000 of them',
    async play(scene) {
      const pieces = (block: Buffer) =>
        Array.from({ length: Math.ceil(block.length / 16_384) }, (_, i) =>
          block.subarray(i * 16_384, (i + 1) * 16_384),
        );
      const call = (turn: number) => {
        const more =
          turn % 2 === 0
            ? [['x', 'y'.repeat(1_000_000)] as const]
            : Array.from({ length: 10_000 }, (_, i) => [`x-${i}`, ''] as const);
        const blocks = pieces(grpcHeaders(GET, more));
        const stream = 2 * turn + 1;
        return Buffer.concat(
          blocks.map((block, i) => {
            const flags = (i === blocks.length - 1 ? END_HEADERS : 0) | (i === 0 ? END_STREAM : 0);
            return frame({ type: i === 0 ? FrameType.HEADERS : FrameType.CONTINUATION, flags, stream }, block);
          }),
        );
      };
      await flood(scene, call);
    },
  },
  { name: 'http2: PINGs, read', play: async (scene) => void (await flood(scene, () => ping)) },
  {
    name: 'http2: PINGs whose answers nobody reads',
    play: async (scene) => void (await flood(scene, () => ping, false)),
  },
  {
    name: 'http2: answers to PINGs that were never sent',
    play: async (scene) => void (await flood(scene, () => pong)),
  },
  { name: 'http2: SETTINGS, read', play: async (scene) => void (await flood(scene, () => manySettings)) },
  {
    name: 'http2: SETTINGS whose answers nobody reads',
    play: async (scene) => void (await flood(scene, () => manySettings, false)),
  },
  {
    name: 'http2: PRIORITY, WINDOW_UPDATE and unknown frames',
    async play(scene) {
      const open = frame({ type: FrameType.HEADERS, flags: END_HEADERS, stream: 1 }, grpcHeaders(GET));
      await flood(scene, (turn) => (turn === 0 ? open : ([priorities, windows, unknownFrames][turn % 3] ?? open)));
    },
  },
  {
    name: 'http2: empty DATA frames on an open call',
    async play(scene) {
      const open = frame(
        { type: FrameType.HEADERS, flags: END_HEADERS, stream: 1 },
        grpcHeaders('/lingpai.v1.MessageService/SendTemplates'),
      );
      const empty = repeated(frame({ type: FrameType.DATA, flags: 0, stream: 1 }));
      await flood(scene, (turn) => (turn === 0 ? open : empty));
    },
  },
  {
    name: 'http2: 5,000 calls that wait, and are let go',
    async play({ grpc, held, check }) {
      const request = create(GetRequestSchema, { appId: APP, minGeneration: 9_007_199_254_740_991n });
      const message = grpcMessage(toBinary(GetRequestSchema, request));
      let over = 0;
      for (let i = 0; i < SESSIONS; i++) {
        const session = held.use(await http2Session(grpc));
        const calls = Array.from({ length: STREAMS }, () => open(session, GET, { 'grpc-timeout': '3S' }));
        for (const { stream, ended } of calls) {
          stream.end(message);
          void ended.then(() => over++);
        }
      }
      const all = SESSIONS * STREAMS;
      await until(ENDED_MS, () => (over === all ? undefined : `each has its deadline, ${over} have`)).catch(() => {});
      check(over === all, `each ends at its deadline: ${over} of ${all} have`);
    },
  },
];
