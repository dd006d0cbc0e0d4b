import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../src/main.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { Child } from './child.ts';
import { CapturedIo } from './command.ts';
import { seeded } from './random.ts';

const ROOT = join(import.meta.dirname, '../..');

/** The apps of a Place, with a secret that no output may show. */
export const SECRET = 'correct-horse-battery';
export const APPS = [
  { app_id: 'wxa', secret: SECRET, issuer: 'classic' },
  { app_id: 'wxb', secret: SECRET },
] as const;

/** A folder with a config file, a simulated WeChat beside it, and the command line run as a person would run it. */
export class Place implements AsyncDisposable {
  readonly folder: string;
  readonly wechat: Sandbox;
  readonly #children: Child[] = [];

  private constructor(folder: string, wechat: Sandbox) {
    this.folder = folder;
    this.wechat = wechat;
  }

  static async make(): Promise<Place> {
    const folder = await mkdtemp(join(tmpdir(), 'lingpai-test-'));
    const wechat = await startSandbox({
      listen: { host: '127.0.0.1', port: 0 },
      clock: systemClock,
      random: seeded(7),
      apps: [...APPS, { app_id: 'wxnew' }].map(({ app_id }) => ({ appId: app_id, secret: SECRET })),
    });
    return new Place(folder, wechat);
  }

  /** Writes `lingpai.yaml`; `settings` replace whole sections. */
  async configure(settings: object = {}): Promise<string> {
    const path = join(this.folder, 'lingpai.yaml');
    const config = {
      grpc: { listen: '127.0.0.1:0' },
      http: { listen: '127.0.0.1:0' },
      store: { url: 'sqlite:lingpai.db' },
      upstream: { base_url: this.wechat.url },
      apps: APPS,
      ...settings,
    };
    await writeFile(path, JSON.stringify(config, null, 2));
    return path;
  }

  /** Runs the command line in the folder. */
  lingpai(...args: string[]): Child {
    return this.#spawn(args, {});
  }

  /** The same, with variables in the environment. */
  lingpaiWith(env: Record<string, string>, ...args: string[]): Child {
    return this.#spawn(args, env);
  }

  /** Runs the command line to its end in this process, as if it had been started in the folder. */
  async run(...args: string[]): Promise<{ code: number; output: string }> {
    const io = new CapturedIo(this.folder);
    return { code: await run(args, io), output: io.output };
  }

  /** Runs it to its end as a process of its own: for what only a process has, such as its exit code. */
  async runProcess(...args: string[]): Promise<{ code: number; output: string }> {
    const child = this.lingpai(...args);
    const code = await child.ended();
    return { code, output: child.output };
  }

  /** A broker that serves, and its addresses. */
  async serve(): Promise<{ broker: Child; grpc: string; http: string }> {
    const broker = this.lingpai('serve');
    const ready = await broker.next('"ready"', (line) => line.msg === 'ready');
    return { broker, grpc: String(ready['grpc']), http: String(ready['http']) };
  }

  #spawn(args: string[], env: Record<string, string>): Child {
    const main = join(ROOT, 'src/lingpai.js');
    const command: [string, ...string[]] = [process.execPath, '--disable-warning=ExperimentalWarning', main, ...args];
    const child = new Child({ name: `lingpai ${args[0]}`, command, cwd: this.folder, env });
    this.#children.push(child);
    return child;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await child[Symbol.asyncDispose]();
    await this.wechat.close();
    await rm(this.folder, { recursive: true });
  }
}
