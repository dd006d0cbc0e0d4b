/** A grpc-js server that does nothing but send bytes: what any server on this stack costs. */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { answer, sharedNow } from './report.ts';

const asIs = (bytes: Buffer) => bytes;
const method = {
  requestStream: false,
  requestSerialize: asIs,
  requestDeserialize: asIs,
  responseSerialize: asIs,
  responseDeserialize: asIs,
};
const definition = {
  get: { ...method, path: '/bare.Service/Get', responseStream: false },
  watch: { ...method, path: '/bare.Service/Watch', responseStream: true },
};

const streams = new Set<ServerWritableStream<Buffer, Buffer>>();

answer({
  /** `tls`: a certificate and its key in PEM. */
  async start({ message, tls }: { message: string; tls?: { cert: string; key: string } }): Promise<string> {
    const bytes = Buffer.from(message, 'base64');
    const secured = tls && [{ cert_chain: Buffer.from(tls.cert), private_key: Buffer.from(tls.key) }];
    const get: handleUnaryCall<Buffer, Buffer> = (_, callback) => callback(null, bytes);
    const watch: handleServerStreamingCall<Buffer, Buffer> = (call) => {
      streams.add(call);
      call.write(bytes);
    };
    const server = new Server();
    server.addService(definition, { get, watch });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(
        '127.0.0.1:0',
        secured ? ServerCredentials.createSsl(null, secured) : ServerCredentials.createInsecure(),
        (error, port) => (error ? reject(error) : resolve(port)),
      );
    });
    return `127.0.0.1:${port}`;
  },

  rotate(message: string): number {
    const bytes = Buffer.from(message, 'base64');
    const startedAt = sharedNow();
    for (const call of streams) call.write(bytes);
    return startedAt;
  },
});
process.on('SIGTERM', () => process.exit());
