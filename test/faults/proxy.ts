import { connect, createServer, type Server, type Socket } from 'node:net';

/** What becomes of a chunk. `hold`: it and all after it in its direction wait. `drop`: nothing of it ever arrives. */
export type Verdict = 'pass' | 'hold' | 'drop';

/** `up`: from the client to the server. */
export type Direction = 'up' | 'down';

/** One connection through the proxy. */
export interface Link {
  /** All that the client has sent, as text: enough to tell connections apart. */
  sent: string;
}

/** Decides what becomes of a chunk; `link` is the connection that it is on. */
export type Rule = (chunk: string, direction: Direction, link: Link) => Verdict;

interface Pipe {
  readonly from: Socket;
  readonly to: Socket;
  readonly direction: Direction;
  readonly link: Link;
  readonly held: Buffer[];
  isHeld: boolean;
}

/** A TCP proxy on loopback that lets through what its rule says. What it holds outlives the client: it may arrive late. */
export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #target: () => number;
  readonly #pipes = new Set<Pipe>();
  rule: Rule = () => 'pass';

  private constructor(target: () => number) {
    this.#target = target;
    this.#server = createServer((client) => this.#accept(client));
  }

  /** In front of a port of this machine. */
  static async before(target: () => number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address ? address.port : 0;
  }

  /** Lets everything through again, what is held first. */
  release(): void {
    this.rule = () => 'pass';
    for (const pipe of this.#pipes) {
      pipe.isHeld = false;
      for (const chunk of pipe.held.splice(0)) if (!pipe.to.destroyed) pipe.to.write(chunk);
    }
  }

  /** Ends every connection. */
  cut(): void {
    for (const { from, to } of this.#pipes) {
      from.destroy();
      to.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const server = connect(this.#target(), '127.0.0.1');
    const link: Link = { sent: '' };
    const up: Pipe = { from: client, to: server, direction: 'up', link, held: [], isHeld: false };
    const down: Pipe = { from: server, to: client, direction: 'down', link, held: [], isHeld: false };
    for (const pipe of [up, down]) {
      this.#pipes.add(pipe);
      pipe.from.on('error', () => undefined);
      pipe.from.on('data', (chunk: Buffer) => this.#pass(pipe, chunk));
      pipe.from.on('close', () => {
        // What is held has left its sender, and arrives once it is let go.
        if (pipe.held.length === 0 && !pipe.isHeld) pipe.to.end();
      });
      pipe.to.on('close', () => this.#pipes.delete(pipe));
    }
  }

  #pass(pipe: Pipe, chunk: Buffer): void {
    const text = chunk.toString('latin1');
    if (pipe.direction === 'up' && pipe.link.sent.length < 10_000) pipe.link.sent += text;
    const verdict = pipe.isHeld ? 'hold' : this.rule(text, pipe.direction, pipe.link);
    if (verdict === 'drop') return;
    if (verdict === 'pass') {
      pipe.to.write(chunk);
      return;
    }
    pipe.isHeld = true;
    pipe.held.push(chunk);
  }
}
