import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { load } from '../../src/app/load.ts';
import { type Running, runBroker } from '../../src/app/run.ts';
import { tokenClient } from '../../src/commands/client.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { createLogger } from '../../src/ops/log.ts';
import { type Sandbox, startSandbox } from '../../src/sandbox/server.ts';
import { seeded } from '../support/random.ts';
import { until } from '../support/until.ts';

/** The app that inputs speak of. */
export const APP = 'wxa';
const SECRET = 'correct-horse-battery';
const SETTLE_MS = 10_000;
const LONGEST_ANSWER_MS = 5_000;

/** A whole broker in this process, before a simulated WeChat. */
export class FuzzedBroker implements AsyncDisposable {
  readonly grpc: string;
  readonly http: string;
  readonly #running: Running;
  readonly #wechat: Sandbox;
  readonly #folder: string;
  readonly #errors: string[];
  readonly #client: ReturnType<typeof tokenClient>;
  #idle = 0;

  private constructor(running: Running, wechat: Sandbox, folder: string, errors: string[]) {
    this.#running = running;
    this.#wechat = wechat;
    this.#folder = folder;
    this.#errors = errors;
    this.grpc = running.grpc;
    this.http = running.http;
    this.#client = tokenClient(running.grpc);
  }

  static async start(): Promise<FuzzedBroker> {
    const folder = mkdtempSync(join(tmpdir(), 'lingpai-fuzz-'));
    const wechat = await startSandbox({
      listen: { host: '127.0.0.1', port: 0 },
      clock: systemClock,
      random: seeded(7),
      apps: [{ appId: APP, secret: SECRET }],
    });
    const path = join(folder, 'lingpai.yaml');
    const config = {
      grpc: { listen: '127.0.0.1:0' },
      http: { listen: '127.0.0.1:0' },
      store: { url: 'memory:' },
      upstream: { base_url: wechat.url },
      refresh: { probe_interval: '0s', cooldown: '1h' },
      apps: [{ app_id: APP, secret: SECRET, issuer: 'classic' }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    const errors: string[] = [];
    const destination = { write: (line: string) => void errors.push(line) };
    const loaded = { ...(await load(path)), audit: { to: 'off' } } as const;
    const running = await runBroker(loaded, createLogger({ level: 'error', destination }));
    const broker = new FuzzedBroker(running, wechat, folder, errors);
    await broker.rest();
    return broker;
  }

  /** Throws the error lines that were logged since. */
  check(): void {
    const [line] = this.#errors.splice(0);
    if (line !== undefined) throw new Error(`an error line in the log: ${line.slice(0, 500)}`);
  }

  /** Whether it answers, and has let go of every connection. */
  async rest(): Promise<void> {
    this.check();
    const { state } = await this.#client.get({ appId: APP }, { signal: AbortSignal.timeout(LONGEST_ANSWER_MS) });
    if (!state?.current) throw new Error('it has no token to hand out');
    const open = () => process.getActiveResourcesInfo().filter((each) => each === 'TCPSocketWrap').length;
    await until(SETTLE_MS, async () => {
      await setImmediate();
      // The client above keeps its own connection, and may have made it anew.
      return this.#idle === 0 || open() <= this.#idle + 2 ? undefined : `${open()} sockets are closed`;
    });
    this.#idle ||= open();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.stop();
    await this.#wechat.close();
    rmSync(this.#folder, { recursive: true });
  }
}
