/** A node:http2 server that gives every call the same gRPC answer: the floor under any gRPC server on Node. */
import { constants, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { answer } from './report.ts';

const HEADERS = { [constants.HTTP2_HEADER_STATUS]: 200, [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc' };

answer({
  async start(message: string): Promise<string> {
    const bytes = Buffer.from(message, 'base64');
    const framed = Buffer.alloc(5 + bytes.length);
    framed.writeUInt32BE(bytes.length, 1);
    bytes.copy(framed, 5);
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.on('end', () => {
        stream.respond(HEADERS, { waitForTrailers: true });
        stream.end(framed);
      });
      stream.resume();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
});
process.on('SIGTERM', () => process.exit());
