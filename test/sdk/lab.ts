import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/ops/clock.ts';
import { systemRandom } from '../../src/ops/random.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import type { SimulatedWeChat } from '../../src/sandbox/wechat.ts';
import { keyFile, makeKey } from '../support/access-key.ts';
import { Child } from '../support/child.ts';
import { root } from '../support/foreign.ts';
import { Ear } from './ear.ts';
import type { Sdk } from './sdks.ts';

/** The app that the SDKs call WeChat for. */
export const appId = 'wx00sdk00000000001';

/** A simulated WeChat, a broker with its gateway, and an ear on both sides of it. */
export interface Lab extends AsyncDisposable {
  readonly wechat: SimulatedWeChat;
  readonly broker: Child;
  /** The AppSecret, which WeChat and the broker know. */
  readonly secret: string;
  /** The SDK's own key. */
  readonly key: string;
  /** The folder that an SDK writes to. */
  readonly home: string;
  /** What the SDK and the gateway say to one another. */
  readonly downstream: Ear;
  /** What the broker and WeChat say to one another. */
  readonly upstream: Ear;
  /** Starts an SDK's driver. */
  driver(sdk: Sdk): Child;
}

/** Starts all but the driver. */
export async function openLab(): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'lingpai-sdk-'));
  stack.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })); // after a signal
  const home = join(folder, 'home');
  await mkdir(home);

  const secret = randomBytes(16).toString('hex');
  const sandbox = await startSandbox({
    listen: { host: '127.0.0.1', port: 0 },
    clock: systemClock,
    random: systemRandom,
    apps: [{ appId, secret, unlimitedConsent: true }],
  });
  stack.defer(() => sandbox.close());
  const upstream = stack.use(await Ear.before(new URL(sandbox.url).host));

  const { key, stored } = makeKey('sdk');
  await writeFile(join(folder, 'lingpai.keys'), keyFile({ stored }), { mode: 0o600 });
  await writeFile(join(folder, 'lingpai.yaml'), JSON.stringify(config(upstream.url, secret))); // JSON is YAML
  const broker = stack.use(new Child({ name: 'the broker', command: SERVE, cwd: folder }));
  const ready = await broker.next('"ready"', ({ msg }) => msg === 'ready');
  const downstream = stack.use(await Ear.before(String(ready['gateway'])));

  const all = stack.move();
  const driver = ({ name, start, env }: Sdk) => {
    const places = { HOME: home, TMPDIR: home, JAVA_TOOL_OPTIONS: `-Djava.io.tmpdir=${home}` };
    const own = { GATEWAY: downstream.url, APP_ID: appId, KEY: key };
    return all.use(new Child({ name, command: start, cwd: home, env: { ...places, ...env, ...own }, listens: true }));
  };
  const close = () => all.disposeAsync();
  return {
    wechat: sandbox.wechat,
    ...{ broker, secret, key, home, downstream, upstream, driver },
    [Symbol.asyncDispose]: close,
  };
}

const SERVE: [string, ...string[]] = [
  process.execPath,
  '--disable-warning=ExperimentalWarning',
  join(root, 'src/lingpai.js'),
  'serve',
];

function config(upstream: string, secret: string): object {
  return {
    grpc: { listen: '127.0.0.1:0' },
    http: { listen: '127.0.0.1:0' },
    gateway: { listen: '127.0.0.1:0' },
    store: { url: 'sqlite:lingpai.db' },
    upstream: { base_url: upstream },
    access: { keys: 'lingpai.keys', rules: [{ who: ['key:sdk'], may: ['call'], apps: [appId] }] },
    audit: { to: 'stdout' },
    // The broker is to learn from the gateway that a token died.
    refresh: { cooldown: '0s', probe_interval: '0s' },
    apps: [{ app_id: appId, secret, issuer: 'classic' }],
  };
}
