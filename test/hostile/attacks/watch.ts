import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { WatchTokenRequestSchema } from '../../../src/gen/lingpai/v1/token_pb.js';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { call, happens, http2Session, open } from '../strangers.ts';

const WATCH = '/lingpai.v1.TokenService/WatchToken';
const STREAMS = 20;
const MOST_KNOWN = 10_000;
const KNOWING = 400;
/** With ids as short as can be, this many are in a message of 1 MiB. */
const TOO_MANY = 109_000;

function request(count: number, id: (index: number) => string): Buffer {
  const knownGenerations = Object.fromEntries(Array.from({ length: count }, (_, i) => [id(i), 1n]));
  return grpcMessage(toBinary(WatchTokenRequestSchema, create(WatchTokenRequestSchema, { knownGenerations })));
}

/** What a watch is told that its client knows. */
export const watch: readonly Attack[] = [
  {
    name: 'watch: 109,000 known_generations, 20 times',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const bytes = request(TOO_MANY, (i) => i.toString(36));
      const ends = await Promise.all(Array.from({ length: STREAMS }, () => call(session, WATCH, bytes)));
      for (const { status } of ends) {
        const isRefused = status === Code.InvalidArgument || status === Code.ResourceExhausted;
        check(isRefused, `each is INVALID_ARGUMENT or RESOURCE_EXHAUSTED, not ${status}`);
      }
    },
  },
  {
    name: 'watch: known_generations that are no app ids',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      for (const id of ['', 'a b', '__proto__!', 'x'.repeat(65), '\uFDFA'.repeat(64)]) {
        const { status } = await call(
          session,
          WATCH,
          request(1, () => id),
        );
        check(status === Code.InvalidArgument, `${JSON.stringify(id)} is INVALID_ARGUMENT, not ${status}`);
      }
    },
  },
  {
    name: 'watch: 400 streams that know of 10,000 apps each',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const bytes = request(MOST_KNOWN, (i) => `wx-known-${i}`);
      let open_ = 0;
      for (let i = 0; i < KNOWING; i++) {
        const { stream } = open(session, WATCH);
        stream.end(bytes);
        if (await happens(stream, 'data', 5_000)) open_++;
      }
      check(open_ === KNOWING, `as many as are allowed are served: ${open_} of ${KNOWING} are`);
    },
  },
];
