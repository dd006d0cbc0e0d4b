import type { IncomingHttpHeaders } from 'node:http';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { Code } from '@connectrpc/connect';
import type { Attack } from '../attack.ts';
import { grpcMessage } from '../frames.ts';
import { call, http, http2Session, open } from '../strangers.ts';

const GET = '/lingpai.v1.TokenService/Get';
const MESSAGE_BYTES = 1024 * 1024;
/** As many messages as a stream's window lets through at once, and as many streams as 3 MB of them take. */
const BOMB_BYTES = 64 * 1024;
const STREAMS = 48;

/** One that inflates to a whole MiB, of which a kilobyte is sent. */
const deflated = gzipSync(Buffer.alloc(MESSAGE_BYTES));

const GRPC_PATHS = [
  GET,
  '/lingpai.v1.TokenService/ForceRefresh',
  '/lingpai.v1.TokenService/WatchToken',
  '/lingpai.v1.MessageService/SendTemplate',
  '/lingpai.v1.MessageService/SendTemplates',
  '/lingpai.v1.MessageService/DepositPermits',
  '/lingpai.v1.MessageService/CountPermits',
  '/lingpai.v1.MessageService/ReviewTemplate',
  '/lingpai.v1.AdminService/GetStatus',
  '/grpc.health.v1.Health/Check',
  '/grpc.health.v1.Health/Watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
];
const MANY = '/lingpai.v1.MessageService/SendTemplates';
const NONE = { status: -1, headers: {} as IncomingHttpHeaders };
const STREAMING = ['/lingpai.v1.TokenService/WatchToken', '/lingpai.v1.MessageService/SendTemplates'];
const UNARY = GRPC_PATHS.slice(0, 9).filter((path) => !STREAMING.includes(path));

/** Messages that inflate. */
export const compression: readonly Attack[] = [
  {
    name: 'compression: gzip bombs on every gRPC path, on one of them 3 MB at once',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      const one = grpcMessage(deflated, true);
      const bomb = Buffer.concat(Array.from({ length: Math.ceil(BOMB_BYTES / one.length) }, () => one));
      for (const path of GRPC_PATHS) {
        const count = path === MANY ? STREAMS : 1;
        const calls = Array.from({ length: count }, () => call(session, path, bomb, { 'grpc-encoding': 'gzip' }));
        const [{ status, headers } = NONE] = await Promise.all(calls);
        check(status === Code.Unimplemented, `${path}: gzip is UNIMPLEMENTED, not ${status}`);
        const accepted = headers['grpc-accept-encoding'];
        check(accepted === 'identity', `${path}: grpc-accept-encoding is identity, not ${accepted}`);
      }
    },
  },
  {
    name: 'compression: refused before a byte of a message was sent',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      for (const path of GRPC_PATHS) {
        for (const encoding of ['gzip', 'deflate', 'br', 'no-such-thing']) {
          const { stream, ended } = open(session, path, { 'grpc-encoding': encoding });
          held.defer(() => void stream.destroy());
          const { status } = await ended;
          check(status === Code.Unimplemented, `${path}: ${encoding} is UNIMPLEMENTED at once, not ${status}`);
          if (status === -1) break;
        }
      }
    },
  },
  {
    name: 'compression: a message that says it is compressed where the call does not',
    async play({ grpc, held, check }) {
      const session = held.use(await http2Session(grpc));
      for (const path of GRPC_PATHS) {
        const { status } = await call(session, path, grpcMessage(deflated, true));
        const isRefused = [Code.Unimplemented, Code.Internal, Code.InvalidArgument].includes(status);
        check(isRefused, `${path}: it is refused, not ${status}`);
      }
    },
  },
  {
    name: 'compression: Connect, gRPC-Web and streams over HTTP',
    async play({ http: address, check }) {
      const small = gzipSync('{}');
      const json = { 'content-type': 'application/json' };
      const encodings = { gzip: small, br: brotliCompressSync('{}'), deflate: small };
      for (const path of UNARY) {
        for (const [encoding, body] of Object.entries(encodings)) {
          const headers = { ...json, 'content-encoding': encoding };
          const { status, body: answer } = await http(address, { method: 'POST', path, headers, body });
          const code = codeOf(answer);
          check(
            code === 'unimplemented',
            `${path}: content-encoding ${encoding} is unimplemented, not ${status} ${code}`,
          );
        }
      }
      // A bidirectional call is not to be had over HTTP/1.1 at all.
      for (const path of STREAMING.filter((each) => each !== MANY)) {
        const headers = { 'content-type': 'application/connect+json', 'connect-content-encoding': 'gzip' };
        const body = grpcMessage(small, true);
        const { body: answer } = await http(address, { method: 'POST', path, headers, body });
        check(/"unimplemented"/.test(answer.toString()), `${path}: connect-content-encoding gzip is unimplemented`);
      }
      for (const path of [...UNARY, ...STREAMING].filter((each) => each !== MANY)) {
        const headers = { 'content-type': 'application/grpc-web+proto', 'grpc-encoding': 'gzip' };
        const answer = await http(address, { method: 'POST', path, headers, body: grpcMessage(deflated, true) });
        const status = answer.headers['grpc-status'] ?? /grpc-status: ?(\d+)/.exec(answer.body.toString())?.[1];
        check(Number(status) === Code.Unimplemented, `${path}: gRPC-Web with gzip is UNIMPLEMENTED, not ${status}`);
      }
    },
  },
];

function codeOf(body: Buffer): unknown {
  try {
    return (JSON.parse(body.toString()) as { code?: unknown }).code;
  } catch {
    return body.toString().slice(0, 60);
  }
}
