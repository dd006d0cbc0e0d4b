import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Client, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { TokenService, type TokenState } from '../../src/gen/lingpai/v1/token_pb.js';
import { issue } from '../support/certificates.ts';
import { Child } from '../support/child.ts';
import { root } from '../support/foreign.ts';
import { freePort } from '../support/free-port.ts';
import { jwksText, makeJwt, makeSigningKey } from '../support/jwt.ts';
import { Middlebox } from '../support/middlebox.ts';
import { HttpProxy } from './http-proxy.ts';
import type { Language } from './languages.ts';
import type { ServiceExample } from './services.ts';

/** The app that the services watch. */
export const appId = 'wx00interop0000001';

const secret = 'interop-app-secret';

/** The longest that a call of the runner itself may take, in milliseconds. */
const callTimeoutMs = 10_000;

/** Those of labs that are open: after a signal nobody closes them. */
const folders = new Set<string>();
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
});

/** A simulated WeChat, a place for a broker that comes and goes, and the services that depend on it. */
export class Lab implements AsyncDisposable {
  /** Stands between the services and the broker. */
  readonly box: Middlebox;
  /** What the environment of the services names. */
  readonly proxy: HttpProxy;
  /** Where the broker's ports are, by what is spoken there. */
  readonly addresses: { readonly grpc: string; readonly http: string };
  /** Where the simulated WeChat is. */
  readonly wechatUrl: string;
  readonly #folder: string;
  readonly #sandbox: Child;
  readonly #children: Child[] = [];
  readonly #session: Http2SessionManager;
  readonly #client: Client<typeof TokenService>;
  readonly #secrets = new Set([secret]);

  private constructor(
    { address, httpAddress }: { address: string; httpAddress: string },
    folder: string,
    sandbox: Child,
    sandboxUrl: string,
    box: Middlebox,
    proxy: HttpProxy,
    own: Own | undefined,
  ) {
    this.box = box;
    this.addresses = { grpc: address, http: httpAddress };
    this.proxy = proxy;
    this.#folder = folder;
    this.#sandbox = sandbox;
    this.wechatUrl = sandboxUrl;
    const baseUrl = `${own ? 'https' : 'http'}://${address}`;
    const nodeOptions = own ? { ca: own.ca } : {};
    this.#session = new Http2SessionManager(baseUrl, {}, nodeOptions);
    const transport = createGrpcTransport({
      baseUrl,
      sessionManager: this.#session,
      interceptors: own ? [showing(own.key)] : [],
    });
    this.#client = createClient(TokenService, transport);
    if (own) this.#secrets.add(own.key);
  }

  /** Starts the simulated WeChat; there is no broker yet. `isSecured`: it will serve TLS and have rules. */
  static async start({ isSecured = false } = {}): Promise<Lab> {
    const address = `127.0.0.1:${await freePort()}`;
    const httpAddress = `127.0.0.1:${await freePort()}`;
    const folder = await mkdtemp(join(tmpdir(), 'lingpai-interop-'));
    folders.add(folder);
    const sandbox = new Child({
      name: 'the sandbox',
      command: lingpai('sandbox', '--listen', '127.0.0.1:0'),
      cwd: folder,
    });
    try {
      const ready = await sandbox.next('"ready"', (line) => line.msg === 'ready');
      const box = await Middlebox.before(address);
      const file = join(folder, 'lingpai.yaml'); // JSON is YAML
      await writeFile(
        file,
        JSON.stringify({ ...config(address, httpAddress, String(ready.url)), ...(isSecured && secured) }),
      );
      const own = isSecured ? await secure(folder) : undefined;
      const lab = new Lab(
        { address, httpAddress },
        folder,
        sandbox,
        String(ready.url),
        box,
        await HttpProxy.start(),
        own,
      );
      await lab.#control('POST /sandbox/apps', { app_id: appId, secret });
      return lab;
    } catch (error) {
      await sandbox[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
      folders.delete(folder);
      throw error;
    }
  }

  /** The path of a file in the folder of the broker's configuration. */
  file(name: string): string {
    return join(this.#folder, name);
  }

  /** `lingpai keys`, and the key that it makes, if it makes one. */
  async keys(...args: string[]): Promise<string> {
    const key = await keys(this.#folder, ...args);
    if (key !== '') this.#secrets.add(key);
    return key;
  }

  /** Starts a broker, always at the same address and on the same store, and waits until it serves. */
  async broker(): Promise<Child> {
    const command = lingpai('serve', '--config', this.file('lingpai.yaml'));
    const broker = this.#keep(new Child({ name: 'the broker', command, cwd: this.#folder }));
    await broker.next('"ready"', (line) => line.msg === 'ready');
    return broker;
  }

  /** Starts a language's example with variables in its environment: by TLS, to the address that the certificate is for. */
  serviceWith(env: Record<string, string>, language: Language, ...args: string[]): Child {
    const to = { LINGPAI_ADDR: `https://127.0.0.1:${this.box.port}`, ...env };
    return this.#service(language, { ...language.env, ...to }, args);
  }

  /** Starts a language's example. */
  service(language: Language, ...args: string[]): Child {
    const env = { ...this.proxy.env, ...language.env, LINGPAI_ADDR: `${language.host}:${this.box.port}` };
    return this.#service(language, env, args);
  }

  /** Reads the app's state from the broker. */
  async state(): Promise<TokenState> {
    return this.#learn((await this.#client.get({ appId }, { timeoutMs: callTimeoutMs })).state);
  }

  /** Has the broker replace the token, as an operator would. */
  async rotate(): Promise<TokenState> {
    return this.#learn((await this.#client.forceRefresh({ appId }, { timeoutMs: callTimeoutMs })).state);
  }

  /** Has WeChat refuse the app's current token from now on. */
  async killToken(): Promise<void> {
    await this.#control(`POST /sandbox/apps/${appId}/kill`, { issuer: 'classic' });
  }

  /** Whether a text holds the AppSecret or a token that the broker has handed out. */
  holdsSecret(text: string): boolean {
    return [...this.#secrets].some((each) => text.includes(each));
  }

  /** An error as it is, and what is known of the processes that failed before it. */
  explain(error: unknown): Error {
    const failed = [this.#sandbox, ...this.#children].filter(({ exitCode = 0 }) => exitCode !== 0);
    const message = error instanceof Error ? error.message : String(error);
    const others = failed.filter(({ name }) => !message.startsWith(name));
    return new Error(
      [message, ...others.map((child) => `${child.name} ended with ${child.exitCode}; ${child.tail()}`)].join('\n'),
      { cause: error },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.abort();
    for (const child of [...this.#children, this.#sandbox]) await child[Symbol.asyncDispose]();
    for (const part of [this.box, this.proxy]) await part[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true });
    folders.delete(this.#folder);
  }

  /** Starts a language's service on its library: by TLS and a key, straight at the broker, with the sandbox for WeChat. */
  onLibrary(example: ServiceExample, keyFile: string, ...args: string[]): Child {
    const env = {
      ...{ LINGPAI_ADDR: `https://${this.addresses[example.speaks]}`, LINGPAI_CA: this.file('ca.pem') },
      ...{ LINGPAI_KEY_FILE: keyFile, WECHAT_URL: this.wechatUrl },
    };
    return this.#service(example, env, args);
  }

  #service(language: Pick<Language, 'name' | 'start'>, env: Record<string, string>, args: string[]): Child {
    const [file, ...rest] = language.start;
    const name = `the ${language.name} service`;
    return this.#keep(new Child({ name, command: [file, ...rest, ...args], cwd: this.#folder, env }));
  }

  #keep(child: Child): Child {
    this.#children.push(child);
    return child;
  }

  #learn(state: TokenState | undefined): TokenState {
    if (!state?.current) throw new Error('the broker answered without a token');
    this.#secrets.add(state.current.value);
    if (state.previous) this.#secrets.add(state.previous.value);
    return state;
  }

  async #control(call: string, body: object): Promise<void> {
    const [method = '', path = ''] = call.split(' ');
    const signal = AbortSignal.timeout(callTimeoutMs);
    const response = await fetch(new URL(path, this.wechatUrl), {
      method,
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
    });
    if (!response.ok) throw new Error(`the sandbox refused ${call}: ${await response.text()}`);
  }
}

function lingpai(...args: string[]): [string, ...string[]] {
  return [process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'src/lingpai.js'), ...args];
}

/** What the runner itself shows a broker that serves TLS and has rules. */
interface Own {
  readonly ca: string;
  readonly key: string;
}

const issuer = 'https://kubernetes.default.svc.cluster.local';

/** What a secured broker has in its configuration. */
const secured = {
  tls: { cert: 'server.pem', key: 'server.key', client_ca: 'ca.pem' },
  access: {
    keys: 'lingpai.keys',
    tokens: [{ name: 'prod', kubernetes: true, issuer, audience: 'lingpai', jwks: { file: 'jwks.json' } }],
    rules: [
      { who: ['key:orders', 'dns:orders.internal', 'k8s:prod/default/orders'], may: ['read'], apps: [appId] },
      { who: ['key:runner'], may: ['read', 'refresh'], apps: ['*'] },
    ],
  },
};

/**
 * Makes certificates of a CA of its own (`ca.pem`), one by another (`stranger.pem`), a service account's token for the broker and
 * one for another audience, and the runner's key (`runner.key`).
 */
async function secure(folder: string): Promise<Own> {
  const ca = issue({ name: 'interop', isCa: true });
  const server = issue({ names: ['ip:127.0.0.1'], by: ca, usage: 'server' });
  const client = issue({ names: ['dns:orders.internal'], by: ca, usage: 'client' });
  const signing = makeSigningKey('1');
  const exp = Math.floor(Date.now() / 1000) + 3_600;
  const token = (aud: string) =>
    makeJwt(signing, { iss: issuer, aud, sub: 'system:serviceaccount:default:orders', exp });
  const files = {
    ...{ 'jwks.json': jwksText(signing), token: `${token('lingpai')}\n`, 'other-token': token('https://api') },
    ...{ 'ca.pem': ca.cert, 'stranger.pem': issue({ name: 'stranger', isCa: true }).cert },
    ...{ 'server.pem': server.cert, 'server.key': server.key, 'client.pem': client.cert, 'client.key': client.key },
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o600 });
  const key = await keys(folder, 'create', 'runner');
  await writeFile(join(folder, 'runner.key'), key, { mode: 0o600 });
  return { ca: ca.cert, key };
}

async function keys(folder: string, ...args: string[]): Promise<string> {
  const [file, ...rest] = lingpai('keys', ...args, '--config', join(folder, 'lingpai.yaml'));
  const { stdout } = await promisify(execFile)(file, rest, { cwd: folder });
  return stdout.trim();
}

function showing(key: string): Interceptor {
  return (next) => (request) => {
    request.header.set('authorization', `Bearer ${key}`);
    return next(request);
  };
}

function config(address: string, httpAddress: string, sandboxUrl: string): object {
  return {
    grpc: { listen: address },
    http: { listen: httpAddress, hosts: ['0.0.0.0'] }, // as languages.ts has it for Go
    store: { url: 'sqlite:lingpai.db' },
    upstream: { base_url: sandboxUrl },
    // The broker is to learn from the services that a token died, and the scenario rotates faster than anyone should.
    refresh: { cooldown: '0s', probe_interval: '0s' },
    watch: { heartbeat: '1s' },
    apps: [{ app_id: appId, secret, issuer: 'classic' }],
  };
}
