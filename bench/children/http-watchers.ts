/** Clients of streams over HTTP/1.1, one on each connection, that do as little as can be: of what comes only the length is read. */
import { connect, type Socket } from 'node:net';
import { answer, sharedNow } from './report.ts';

/** Streams to open: what each sends, in base64, and how many there are. */
export interface Streams {
  readonly address: string;
  readonly request: string;
  readonly count: number;
}

/** From so many addresses of loopback, since a listener takes no more than half of its connections from one. */
const ADDRESSES = 8;
/** So many connect at once: a listener's backlog is 511. */
const AT_ONCE = 200;

let sockets: Socket[] = [];
let received: number[] = [];
let leastBytes = Number.POSITIVE_INFINITY;
let waited = 0;
let awaited = Promise.withResolvers<number>();

function expectAll(least: number): void {
  received.fill(0);
  leastBytes = least;
  waited = sockets.length;
  awaited = Promise.withResolvers();
}

function open(address: string, request: Buffer, i: number): Promise<void> {
  const [host = '', port] = address.split(':');
  const localAddress = `127.0.0.${2 + (i % ADDRESSES)}`;
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port), localAddress, noDelay: true });
    sockets[i] = socket;
    socket.once('error', reject);
    socket.on('close', () => {
      if (sockets[i] === socket) throw new Error('a stream ended');
    });
    socket.on('data', (chunk) => {
      const before = received[i] ?? 0;
      received[i] = before + chunk.length;
      if (before < leastBytes && before + chunk.length >= leastBytes && --waited === 0) awaited.resolve(sharedNow());
      resolve();
    });
    socket.write(request);
  });
}

answer({
  /** Resolves when each stream has had something. */
  async open({ address, request, count }: Streams): Promise<void> {
    const bytes = Buffer.from(request, 'base64');
    received = Array<number>(count).fill(0);
    for (let i = 0; i < count; i += AT_ONCE)
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - i) }, (_, j) => open(address, bytes, i + j)));
  },

  /** Begins to wait for so many bytes on every stream. */
  expect: (least: number) => expectAll(least),

  /** When the last stream had them. */
  heard: () => awaited.promise,

  /** Ends all streams. */
  async close(): Promise<void> {
    const ended = sockets;
    sockets = [];
    const gone = ended.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const socket of ended) socket.destroy();
    await Promise.all(gone);
  },
});
process.on('SIGTERM', () => process.exit());
