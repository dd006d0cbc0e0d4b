import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { Transform } from 'node:stream';

/**
 * A box in the network between services and a broker, as a firewall or a balancer of connections is. It forgets
 * connections without telling anyone: both ends keep a socket on which nothing comes any more, and new ones pass.
 */
export class Middlebox implements AsyncDisposable {
  /** While set, new connections are taken and nothing passes on them. */
  deaf = false;
  /** While set, new connections are reset at once. */
  refuses = false;
  /** How long what passes is on its way from now on, in milliseconds. */
  delayMs = 0;
  /** While set, what those who connect are answered comes a byte at a time. */
  trickles = false;
  /** When each connection came, by performance.now(). */
  readonly arrivals: number[] = [];
  /** Told of all that passes: what comes from those who connect, and what they are answered. */
  hear: (from: 'near' | 'far', bytes: Buffer) => void = () => {};
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: { host: string; port: number }) {
    this.#server = createServer((near) => {
      this.arrivals.push(performance.now());
      if (this.refuses) {
        near.on('error', () => {}).resetAndDestroy();
        return;
      }
      const far = connect(target);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket.setNoDelay());
        socket.on('error', () => {}); // "close" follows
        socket.once('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
      near.on('data', (bytes: Buffer) => this.hear('near', bytes));
      far.on('data', (bytes: Buffer) => this.hear('far', bytes));
      near.pipe(this.#slowly(() => false)).pipe(far);
      far.pipe(this.#slowly(() => this.trickles)).pipe(near);
      if (this.deaf) for (const socket of [near, far]) swallow(socket);
    });
  }

  /** Stands before `target`, a host and a port, at a free port of this machine. */
  static async before(target: string): Promise<Middlebox> {
    const { hostname, port } = new URL(`tcp://${target}`);
    const box = new Middlebox({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve) => box.#server.listen(0, '127.0.0.1', resolve));
    return box;
  }

  /** Where it listens, on 127.0.0.1. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many connections to it are open. */
  get connections(): number {
    return this.#sockets.size / 2;
  }

  /** Nothing passes any more on the connections that are open now. */
  freeze(): void {
    for (const socket of this.#sockets) swallow(socket);
  }

  /** Resets the connections that are open now. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #slowly(byBytes: () => boolean): Transform {
    const box = this;
    return new Transform({
      transform(chunk: Buffer, _, done) {
        const pass = () => {
          if (!byBytes()) return done(null, chunk);
          (async () => {
            for (const byte of chunk) {
              this.push(Buffer.of(byte));
              await new Promise(setImmediate);
            }
            done();
          })();
        };
        if (box.delayMs > 0) setTimeout(pass, box.delayMs);
        else pass();
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Takes what comes, and passes on nothing but the end. */
function swallow(socket: Socket): void {
  socket.unpipe().resume();
}
