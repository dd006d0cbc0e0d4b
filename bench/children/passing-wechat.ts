/** What business calls are passed on to: it answers at once, or after a while, and sends downloads of any size. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { answer } from './report.ts';

const OK = Buffer.from('{"errcode":0,"errmsg":"ok","msgid":1234567890123}');
const HEAD = { 'content-type': 'application/json; encoding=utf-8', 'content-length': OK.length };
const PIECE = Buffer.alloc(64 * 1024);

function* pieces(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= PIECE.length) yield left >= PIECE.length ? PIECE : PIECE.subarray(0, left);
}

answer({
  /** Listens; each answer comes so much later. */
  async listen({ delayMs }: { delayMs: number }): Promise<string> {
    const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      const [, bytes] = /^\/download\/(\d+)/.exec(request.url ?? '') ?? [];
      if (bytes !== undefined) {
        response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': bytes });
        Readable.from(pieces(Number(bytes))).pipe(response);
        return;
      }
      request.resume().once('end', () => {
        const say = (): void => void response.writeHead(200, HEAD).end(OK);
        if (delayMs === 0) say();
        else setTimeout(say, delayMs);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4_096, resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
});
process.on('SIGTERM', () => process.exit());
