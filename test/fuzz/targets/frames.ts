import { create, type DescField, type DescMessage, ScalarType, toBinary } from '@bufbuild/protobuf';
import { reflect } from '@bufbuild/protobuf/reflect';
import { AdminService } from '../../../src/gen/lingpai/v1/admin_pb.js';
import { MessageService } from '../../../src/gen/lingpai/v1/message_pb.js';
import { TicketService } from '../../../src/gen/lingpai/v1/ticket_pb.js';
import { TokenService } from '../../../src/gen/lingpai/v1/token_pb.js';
import {
  ACK,
  END_HEADERS,
  END_STREAM,
  FrameType,
  frame,
  grpcMessage,
  hpack,
  PREFACE,
  settings,
} from '../../hostile/frames.ts';
import { APP, FuzzedBroker } from '../broker.ts';
import type { Draw } from '../draw.ts';
import { talk } from '../talk.ts';
import type { Target } from '../target.ts';

/** The methods that are mounted, with what each takes. */
export const METHODS = [TokenService, TicketService, MessageService, AdminService].flatMap(({ methods, typeName }) =>
  methods.map(({ name, input }) => ({ path: `/${typeName}/${name}`, input })),
);
const OTHERS = [
  '/grpc.health.v1.Health/Check',
  '/grpc.health.v1.Health/Watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  '/no.Such/Method',
  '/',
  '*',
];
const HEADERS: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['grpc-timeout', ['1S', '10m', '99999999H', '0n', '-1S', 'x', '', '99999999999S']],
  ['grpc-encoding', ['identity', 'gzip', 'br', '']],
  ['grpc-accept-encoding', ['identity,gzip', '']],
  ['content-type', ['application/grpc+json', 'application/grpc;x', 'text/plain', 'application/grpc-web']],
  ['te', ['trailers', 'x']],
  ['x-bin-bin', ['AAAA', '***']],
  ['authorization', ['Bearer x', '']],
  ['content-length', ['0', '5', '-1']],
  ['connection', ['close']],
  ['cookie', ['a=b']],
  ['', ['x']],
  ['UPPER', ['x']],
  [':path', ['/again']],
  ['host', ['evil.example', '']],
];

/** A message of its type, of values that may or may not be right. */
export function message(draw: Draw, desc: DescMessage, depth = 3): ReturnType<typeof create> {
  const made = create(desc);
  const fields = reflect(desc, made);
  for (const field of desc.fields) {
    if (draw.oneIn(2) || depth === 0) continue;
    try {
      if (field.fieldKind === 'list') {
        const list = fields.get(field);
        for (let i = draw.below(3); i > 0; i--) list.add(value(draw, field, depth));
      } else if (field.fieldKind === 'map') {
        fields.get(field).set(draw.pick(['', 'a', '__proto__', APP]), value(draw, field, depth));
      } else fields.set(field, value(draw, field, depth));
    } catch {
      // A value that its field does not take: protobuf's own library would not have sent it.
    }
  }
  return made;
}

function value(draw: Draw, field: DescField, depth: number): unknown {
  if (field.message) return reflect(field.message, message(draw, field.message, depth - 1) as never);
  if (field.enum) return draw.below(5);
  switch (field.scalar) {
    case ScalarType.STRING:
      return draw.pick([APP, 'nobody', '', 'o1', 't1', draw.text(12).toWellFormed()]);
    case ScalarType.BYTES:
      return draw.bytes(10);
    case ScalarType.BOOL:
      return draw.oneIn(2);
    case ScalarType.UINT64:
    case ScalarType.INT64:
      return draw.pick([0n, 1n, 2n ** 53n, 2n ** 63n - 1n]);
    default:
      return draw.pick([0, 1, 1_000_000]);
  }
}

function body(draw: Draw, input: DescMessage | undefined): Buffer {
  const bytes = input ? Buffer.from(toBinary(input, message(draw, input))) : draw.bytes(20);
  const one = () => grpcMessage(draw.oneIn(3) ? draw.mutated(bytes) : bytes, draw.oneIn(10));
  const all = Buffer.concat([one(), ...(draw.oneIn(5) ? draw.some(3, one) : [])]);
  return draw.oneIn(4) ? draw.mutated(all) : all;
}

/** The frames of one call, most of them as they ought to be. */
function call(draw: Draw, stream: number): Buffer[] {
  const method = draw.oneIn(5) ? undefined : draw.pick(METHODS);
  const fields: [string, string][] = [
    [':method', draw.oneIn(12) ? draw.pick(['GET', 'PUT', 'CONNECT', '']) : 'POST'],
    [':scheme', draw.oneIn(12) ? draw.pick(['ftp', '', 'https']) : 'http'],
    [':path', method?.path ?? draw.pick(OTHERS)],
    [':authority', draw.oneIn(8) ? draw.pick(['', 'evil.example', 'a b', '[::1']) : 'localhost'],
  ];
  if (!draw.oneIn(12)) fields.push(['te', 'trailers'], ['content-type', 'application/grpc']);
  for (const [name, values] of HEADERS)
    if (draw.oneIn(10)) fields.push([name, draw.oneIn(6) ? draw.text(5) : draw.pick(values)]);
  const block = draw.oneIn(15) ? draw.mutated(hpack(fields)) : hpack(fields);
  const data = body(draw, method?.input);
  const cut = draw.oneIn(3) ? draw.below(data.length + 1) : data.length;
  const end = draw.oneIn(4) ? 0 : END_STREAM;
  const last = cut === data.length ? [] : [frame({ type: FrameType.DATA, flags: end, stream }, data.subarray(cut))];
  return [
    frame({ type: FrameType.HEADERS, flags: END_HEADERS | (draw.oneIn(10) ? END_STREAM : 0), stream }, block),
    frame({ type: FrameType.DATA, flags: last.length === 0 ? end : 0, stream }, data.subarray(0, cut)),
    ...last,
    ...(draw.oneIn(6)
      ? [frame({ type: FrameType.RST_STREAM, flags: 0, stream }, Buffer.from([0, 0, 0, draw.below(14)]))]
      : []),
  ];
}

function stray(draw: Draw): Buffer {
  const type = draw.oneIn(4) ? draw.below(256) : draw.below(10);
  const flags = draw.oneIn(2) ? 0 : draw.below(256);
  const stream = draw.pick([0, 0, 1, 3, 2, 2 ** 31 - 1]);
  return frame({ type, flags, stream }, draw.bytes(draw.pick([0, 4, 8, 40])));
}

const PING = Buffer.from('lingpai!');
const PONG = frame({ type: FrameType.PING, flags: ACK, stream: 0 }, PING);

/** gRPC's port: bytes that are HTTP/2 for the most part. */
export const frames: Target = {
  name: 'gRPC frames',
  share: 60,
  atOnce: 64,
  async open() {
    const broker = await FuzzedBroker.start();
    return {
      async take(draw) {
        const pieces = draw.oneIn(30)
          ? [draw.bytes(60)]
          : [
              PREFACE,
              settings(...draw.some(2, () => [draw.below(8), draw.pick([0, 1, 65_535, 2 ** 31 - 1])] as const)),
            ];
        let stream = 1;
        for (let i = 1 + draw.below(4); i > 0; i--) {
          pieces.push(...call(draw, stream));
          stream += draw.oneIn(12) ? draw.below(3) : 2;
          if (draw.oneIn(5)) pieces.push(stray(draw));
        }
        // What comes before has been read when this is answered.
        pieces.push(frame({ type: FrameType.PING, flags: 0, stream: 0 }, PING));
        const bytes = draw.oneIn(6) ? [draw.mutated(Buffer.concat(pieces))] : pieces;
        await talk(broker.grpc, bytes, { cut: draw.oneIn(8), isEnough: (came) => came.includes(PONG) });
        broker.check();
      },
      rest: () => broker.rest(),
      [Symbol.asyncDispose]: () => broker[Symbol.asyncDispose](),
    };
  },
};
