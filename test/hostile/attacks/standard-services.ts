import { Code } from '@connectrpc/connect';
import { until } from '../../support/until.ts';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { call, happens, http2Session, open } from '../strangers.ts';

const CHECK = '/grpc.health.v1.Health/Check';
const WATCH = '/grpc.health.v1.Health/Watch';
const REFLECTION = ['v1', 'v1alpha'].map(
  (version) => `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
);

/** A protobuf message with one field of text, number 1 (a health check's service) or another. */
function text(value: string, field = 1): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([(field << 3) | 2]), varint(bytes.length), bytes]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

/** Reflection's file_containing_symbol: its answers are a thousand times as long. */
const ASK_FILE = grpcMessage(text('lingpai.v1.TokenService', 4));
const ASKS_AT_ONCE = 2_000;
const ASKING_MS = 5_000;
const NAMES = 50_000;
const NAMES_AT_ONCE = 200;
const LONG_NAMES = 100;
const WATCHES = 10_000;
const WATCHES_AT_ONCE = 1_000;
const MAX_WATCHERS = 1_000;

/** Health and reflection. */
export const standardServices: readonly Attack[] = [
  {
    name: 'reflection: requests for five seconds, of which no answer is read',
    async play({ grpc, held }) {
      const many = Buffer.concat(Array.from({ length: ASKS_AT_ONCE }, () => ASK_FILE));
      const end = performance.now() + ASKING_MS;
      const ask = async (path: string) => {
        const session = held.use(await http2Session(grpc, { settings: { initialWindowSize: 0 } }));
        const { stream } = open(session, path, {}, { unread: true });
        while (performance.now() < end && !stream.destroyed) {
          // A broker that does not read on is as good as one that has reset it.
          if (!stream.write(many) && !(await happens(stream, 'drain', end - performance.now()))) return;
        }
      };
      await Promise.all([...REFLECTION, ...REFLECTION].map(ask));
    },
  },
  {
    name: 'health: 50,000 names that nobody has, checked',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const wrong = new Set<number>();
      for (let i = 0; i < NAMES; i += NAMES_AT_ONCE) {
        const names = Array.from({ length: NAMES_AT_ONCE }, (_, j) => `no-such-service-${i + j}`);
        const ends = await Promise.all(names.map((name) => call(session, CHECK, grpcMessage(text(name)))));
        for (const { status } of ends) if (status !== Code.NotFound) wrong.add(status);
      }
      check(wrong.size === 0, `each is NOT_FOUND, not ${[...wrong].join(', ')}`);
    },
  },
  {
    name: 'health: names of 1 MB, checked and watched',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      for (let i = 0; i < LONG_NAMES; i++) {
        const name = grpcMessage(text(`${i}`.padEnd(1_000_000, 'x')));
        const { status, message, bytes } = await call(session, CHECK, name);
        check(status > 0, `a name of 1 MB is refused, not ${status}`);
        check(
          message.length + bytes.length < 1_000,
          `the answer does not repeat the name: ${message.length} characters`,
        );
        const watch = open(session, WATCH);
        watch.stream.end(name);
        await Promise.race([watch.ended, happens(watch.stream, 'data', 5_000)]);
      }
    },
  },
  {
    name: 'health: 20,000 watches, of names that nobody has and of all',
    settings: { watch: { heartbeat: '1s', stall_timeout: '1s', max_watchers: MAX_WATCHERS } },
    async play({ grpc, held, check }) {
      for (const name of [(i: number) => `nobody-${i}`, () => '']) {
        const ends = new Map<number, number>();
        let begun = 0;
        for (let i = 0; i < WATCHES; i += WATCHES_AT_ONCE) {
          const session = held.use(await http2Session(grpc));
          for (let j = 0; j < WATCHES_AT_ONCE; j++) {
            const { stream, ended } = open(session, WATCH);
            stream.end(grpcMessage(text(name(i + j))));
            const begins = () => begun++;
            stream.once('data', begins);
            void ended.then(({ status, bytes }) => {
              if (bytes.length === 0) begins();
              ends.set(status, (ends.get(status) ?? 0) + 1);
            });
          }
          const sent = i + WATCHES_AT_ONCE;
          await until(10_000, () => (begun >= sent ? undefined : `${sent} watches are answered, not only ${begun}`));
        }
        const refused = (ends.get(Code.ResourceExhausted) ?? 0) + (ends.get(Code.NotFound) ?? 0);
        check(
          refused >= WATCHES - MAX_WATCHERS,
          `all beyond watch.max_watchers are refused: ${refused} of ${WATCHES} are`,
        );
      }
    },
  },
];
