import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from './free-port.ts';

/** How often a port is tried that someone else has taken meanwhile. */
const TRIES = 5;
const PATIENCE_MS = 10_000;

/** Starts the server and, when the process that started this one is gone, ends it: its end of the pipe is closed then. */
const KEEPER = 'redis-server "$@" >/dev/null 2>&1 </dev/null & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null';

/** A Redis server of one's own on loopback, which keeps nothing on disk. It ends with this process, or before. */
export class RedisServer implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  readonly #options: readonly string[];
  #keeper: ChildProcess | undefined;
  #pid = 0;

  private constructor(port: number, options: readonly string[]) {
    this.port = port;
    this.#options = options;
    this.#folder = mkdtempSync(join(tmpdir(), 'lingpai-redis-'));
  }

  /** Starts one on a free port; `options` are more of redis-server's own. */
  static async start(options: readonly string[] = []): Promise<RedisServer> {
    for (let tries = 1; ; tries++) {
      const server = new RedisServer(await freePort(), options);
      try {
        await server.launch();
        return server;
      } catch (error) {
        await server[Symbol.asyncDispose]();
        if (tries === TRIES) throw error;
      }
    }
  }

  /** `path` is a database, a query, or both. */
  url(path = ''): string {
    return `redis://127.0.0.1:${this.port}${path}`;
  }

  /** Starts it, empty, after `kill`. */
  async launch(): Promise<void> {
    const own = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    // A sentinel wants a file of its own.
    const file = join(this.#folder, 'redis.conf');
    writeFileSync(file, '');
    const args = [file, ...own, '--dir', this.#folder, ...this.#options];
    this.#keeper = spawn('sh', ['-c', KEEPER, 'sh', ...args], { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#pid = await firstNumber(this.#keeper);
    const end = Date.now() + PATIENCE_MS;
    while (!(await answers(this.port))) {
      if (!isAlive(this.#pid) || Date.now() > end) throw new Error(`redis-server does not answer on port ${this.port}`);
    }
  }

  /** SIGSTOP: it holds its connections and answers nothing. */
  pause(): void {
    process.kill(this.#pid, 'SIGSTOP');
  }

  /** SIGCONT. */
  resume(): void {
    process.kill(this.#pid, 'SIGCONT');
  }

  /** SIGKILL: all that it had is gone. */
  async kill(): Promise<void> {
    const keeper = this.#keeper;
    if (!keeper) return;
    this.#keeper = undefined;
    if (isAlive(this.#pid)) process.kill(this.#pid, 'SIGKILL');
    const ended = new Promise((resolve) => keeper.once('close', resolve));
    keeper.stdin?.end();
    await ended;
  }

  /** The answer to a command, as the server writes it. */
  command(line: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(this.port, '127.0.0.1', () => socket.end(`${line}\r\nQUIT\r\n`));
      let answer = '';
      socket.setEncoding('utf8').on('data', (text) => {
        answer += text;
      });
      socket.once('error', reject).once('close', () => resolve(answer));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Makes sure that there is a redis-server, and installs Debian's where it can be. Throws with what to do. */
export function ensureRedis(): void {
  const version = () => execFileSync('redis-server', ['--version'], { stdio: 'pipe' });
  try {
    version();
    return;
  } catch {
    // It is not there yet.
  }
  try {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    execFileSync('apt-get', ['update', '-qq'], { stdio: 'pipe', env });
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], {
      stdio: 'pipe',
      env,
    });
    version();
  } catch (cause) {
    const words =
      'the tests need redis-server 7 or later, and it cannot be installed here: install it (Debian: redis-server)';
    throw new Error(words, { cause });
  }
}

function firstNumber(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => reject(new Error('redis-server was not started')));
    if (child.stdout) createInterface({ input: child.stdout }).once('line', (line) => resolve(Number(line)));
  });
}

/** Whether someone answers PING there. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.setTimeout(500, () => socket.destroy());
    socket.once('error', () => undefined);
    socket.once('data', () => {
      socket.destroy();
      resolve(true);
    });
    // A breath, so that whoever asks again does not keep the processor to itself.
    socket.once('close', () => setTimeout(() => resolve(false), 20));
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
