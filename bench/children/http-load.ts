/** Clients of HTTP/1.1 that do as little as can be: the bytes of a call are made once, and of answers only the length is read. */
import { connect, type Socket } from 'node:net';
import type { Calls } from './load.ts';
import { answer, sharedNow } from './report.ts';

/** Calls to make, one after the other on each of so many connections. */
export interface Load {
  readonly url: string;
  readonly path: string;
  readonly body: string;
  readonly connections: number;
  /** For so long, or so many in all. */
  readonly durationMs: number;
  readonly most?: number;
}

function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** The end of the first answer in these bytes; -1: it is not whole. */
function endOf(bytes: Buffer): number {
  const head = bytes.indexOf('\r\n\r\n');
  if (head < 0) return -1;
  const text = bytes.toString('latin1', 0, head);
  const [, length] = /^content-length: (\d+)/im.exec(text) ?? [];
  if (!text.startsWith('HTTP/1.1 200') || length === undefined) throw new Error(`not expected here: ${text}`);
  const end = head + 4 + Number(length);
  return bytes.length < end ? -1 : end;
}

answer({
  async calls({ url, path, body, connections, durationMs, most = Number.POSITIVE_INFINITY }: Load): Promise<Calls> {
    const head = `POST ${path} HTTP/1.1\r\nHost: gateway\r\nUser-Agent: bench\r\nAccept: */*\r\n`;
    const bytes = Buffer.from(`${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const sockets = await Promise.all(Array.from({ length: connections }, () => open(url)));
    const tookMs: number[] = [];
    const startedAt = sharedNow();
    let begun = 0;
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => {
            let sentAt = 0;
            let rest: Buffer = Buffer.alloc(0);
            const next = (): void => {
              sentAt = sharedNow();
              if (sentAt - startedAt >= durationMs || begun >= most) resolve();
              else {
                begun++;
                socket.write(bytes);
              }
            };
            socket.on('data', (chunk: Buffer) => {
              rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
              const end = endOf(rest);
              if (end < 0) return;
              rest = rest.subarray(end);
              if (tookMs.length < 200_000) tookMs.push(sharedNow() - sentAt);
              next();
            });
            next();
          }),
      ),
    );
    const ms = sharedNow() - startedAt;
    for (const socket of sockets) socket.destroy();
    return { calls: begun, ms, tookMs };
  },

  /** Reads a download to its end, as fast as it comes, and resolves with its bytes. */
  async download({ url, path }: { url: string; path: string }): Promise<number> {
    const socket = await open(url);
    let bytes = 0;
    socket.on('data', (chunk) => {
      bytes += chunk.length;
    });
    socket.write(`GET ${path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n`);
    await new Promise((resolve) => socket.once('close', resolve));
    return bytes;
  },
});
process.on('SIGTERM', () => process.exit());
