/**
 * The server that the conformance suite tests: `server.ts grpc` or `server.ts http`. It is told on standard input what to
 * serve, tells on standard output where it does, and serves until it is ended.
 */
import { once } from 'node:events';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { systemClock } from '../../src/ops/clock.ts';
import { toConnectError } from '../../src/rpc/errors.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Mount } from '../../src/server/mount.ts';
import { MAX_MESSAGE_BYTES, type Service } from '../../src/transport/service.ts';
import {
  ServerCompatRequestSchema,
  ServerCompatResponseSchema,
} from './gen/connectrpc/conformance/v1/server_compat_pb.js';
import { ConformanceService } from './gen/connectrpc/conformance/v1/service_pb.js';
import { conformanceService } from './service.ts';

const { messageReceiveLimit } = fromBinary(ServerCompatRequestSchema, await read());
const report = (error: unknown) => console.error(error);
const impl = conformanceService(systemClock);
const bytes = messageReceiveLimit || MAX_MESSAGE_BYTES;
const mount = (methods: typeof ConformanceService.methods): Mount => ({
  services: [
    {
      desc: { ...ConformanceService, methods },
      impl,
      limits: Object.fromEntries(methods.map(({ localName }) => [localName, { bytes }])),
    } as unknown as Service,
  ],
  clock: systemClock,
  toError: (error) => toConnectError(error, report),
  report,
  rpc: () => {},
});
const listen = { host: '127.0.0.1', port: 0 };
const none = { contentType: 'text/plain', metrics: async () => '' };
// The gRPC listener serves what Lingpai has: no client-streaming method.
const served = ConformanceService.methods.filter(
  ({ methodKind, localName }) => methodKind !== 'client_streaming' && localName !== 'unimplemented',
);
const { address } =
  process.argv[2] === 'grpc'
    ? await startGrpc({ ...mount(served), listen, health: { set: () => {}, end: () => {} } })
    : await startHttp({
        ...mount(ConformanceService.methods),
        listen,
        hosts: [],
        limits: { inAll: 10_000, perPeer: 10_000 },
        onRefused() {},
        stallTimeoutMs: 30_000,
        states: () => [],
        metrics: none,
      });
const [host = '', port = ''] = address.split(':');
write(toBinary(ServerCompatResponseSchema, create(ServerCompatResponseSchema, { host, port: Number(port) })));

/** One message after its length, in four bytes. */
async function read(): Promise<Buffer> {
  let buffer = Buffer.alloc(0);
  while (buffer.length < 4 || buffer.length < 4 + buffer.readUInt32BE()) {
    const [chunk] = (await once(process.stdin, 'data')) as [Buffer];
    buffer = Buffer.concat([buffer, chunk]);
  }
  return buffer.subarray(4);
}

function write(message: Uint8Array): void {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(message.length);
  process.stdout.write(Buffer.concat([head, message]));
}
