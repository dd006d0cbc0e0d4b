/** A node:http server that does nothing but write bytes to streams: the floor under any server of streams over HTTP/1.1 on Node. */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { answer, sharedNow } from './report.ts';

const streams = new Set<ServerResponse>();

answer({
  /** `message`: what each stream is sent at first, in base64. */
  async start({ message, type }: { message: string; type: string }): Promise<string> {
    const bytes = Buffer.from(message, 'base64');
    const server = createServer((request, response) => {
      request.resume();
      request.once('end', () => {
        response.writeHead(200, { 'content-type': type });
        response.write(bytes);
        streams.add(response);
        response.once('close', () => streams.delete(response));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4096, resolve));
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  },

  rotate(message: string): number {
    const bytes = Buffer.from(message, 'base64');
    const startedAt = sharedNow();
    for (const response of streams) response.write(bytes);
    return startedAt;
  },
});
process.on('SIGTERM', () => process.exit());
