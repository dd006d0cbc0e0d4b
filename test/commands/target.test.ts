import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { refusalOf, tokenClient } from '../../src/commands/client.ts';
import { targetOf } from '../../src/commands/target.ts';
import { LOCAL } from '../../src/core/access/principal.ts';
import { TokenService } from '../../src/gen/lingpai/v1/token_pb.js';
import { run } from '../../src/main.ts';
import { startGrpc } from '../../src/server/grpc.ts';
import { startHttp } from '../../src/server/http.ts';
import type { Listener } from '../../src/server/mount.ts';
import type { Service } from '../../src/transport/service.ts';
import { type CertificateOptions, issue } from '../support/certificates.ts';
import { FakeClock } from '../support/clock.ts';
import { CapturedIo } from '../support/command.ts';
import { grpcOf, HTTP, Mounted } from '../support/rpc.ts';

const KEY = 'lingpai_0123456789abcdefghijABCDEFGHIJ01234567';
const DAY_MS = 86_400_000;
const ca = issue({ name: 'servers', isCa: true });
const clientCa = issue({ name: 'clients', isCa: true });
const client = issue({ name: 'client', by: clientCa });
const SERVICE = { desc: TokenService, impl: { get: () => ({ state: { appId: 'wxa' } }) } };

let folder: string;
const listeners: Listener[] = [];
/** The credentials of each call: what the door saw of them. */
let shown: { readonly authorization: string | undefined; readonly authorized: boolean | undefined }[];

beforeEach(async () => {
  shown = [];
  folder = await mkdtemp(join(tmpdir(), 'lingpai-test-'));
  for (const name of ['LINGPAI_KEY', 'LINGPAI_KEY_FILE', 'LINGPAI_CA', 'LINGPAI_ADDR', 'INIT_CWD'])
    vi.stubEnv(name, undefined);
  await file('ca.pem', ca.cert);
  await file('client.pem', client.cert);
  await file('client.key', client.key);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  for (const listener of listeners.splice(0)) await listener.stop();
  await rm(folder, { recursive: true });
});

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}

/** A broker's gRPC port as a name of this machine; null: without TLS. */
async function serve(
  certificate: Partial<CertificateOptions> | null = {},
  start: 'grpc' | 'http' = 'grpc',
): Promise<string> {
  const server = issue({ name: 'server', names: ['dns:localhost', 'ip:127.0.0.1'], by: ca, ...certificate });
  const methods = Object.fromEntries(TokenService.methods.map(({ localName }) => [localName, () => ({})]));
  const service = { ...SERVICE, impl: { ...methods, ...SERVICE.impl } } as unknown as Service;
  const mounted = new Mounted(new FakeClock(Date.now()), service);
  const options = {
    tls: certificate ? { ...server, clientCa: clientCa.cert } : undefined,
    authenticate({ headers, socket }: { headers: { authorization?: string | undefined }; socket: unknown }) {
      shown.push({ authorization: headers.authorization, authorized: (socket as TLSSocket).authorized });
      return LOCAL;
    },
  };
  const listener =
    start === 'grpc'
      ? await startGrpc({ ...grpcOf(mounted), ...options })
      : await startHttp({ ...HTTP, ...mounted, ...options });
  listeners.push(listener);
  return listener.address;
}

/** Runs `lingpai get wxa` in the folder. */
async function get(...args: string[]): Promise<{ code: number; output: string }> {
  const io = new CapturedIo(folder);
  return { code: await run(['get', 'wxa', '--timeout', '5', ...args], io), output: io.output };
}

describe('a command calls a broker', () => {
  it('without TLS by HOST:PORT and by http://HOST:PORT', async () => {
    const address = await serve(null);
    for (const addr of [address, `http://${address}`, `http://${address}/`])
      expect(await get('--addr', addr)).toMatchObject({ code: 0, output: expect.stringContaining('wxa') });
    expect(shown).toHaveLength(3);
  });

  it('by TLS with https://HOST:PORT, and where a CA is named', async () => {
    const address = await serve();
    for (const addr of [address, `https://${address}`])
      expect(await get('--addr', addr, '--ca', 'ca.pem')).toMatchObject({ code: 0 });
    vi.stubEnv('LINGPAI_CA', join(folder, 'ca.pem'));
    vi.stubEnv('LINGPAI_ADDR', address);
    expect(await get()).toMatchObject({ code: 0 });
    expect(shown).toEqual(Array(3).fill({ authorization: undefined, authorized: false }));
  });

  it('showing a certificate', async () => {
    const args = ['--addr', await serve(), '--ca', 'ca.pem', '--cert', 'client.pem', '--cert-key', 'client.key'];
    expect(await get(...args)).toMatchObject({ code: 0 });
    expect(shown).toEqual([{ authorization: undefined, authorized: true }]);
  });

  it('showing a key, on loopback also without TLS', async () => {
    vi.stubEnv('LINGPAI_KEY', KEY);
    await get('--addr', await serve(null));
    await get('--addr', await serve(), '--ca', 'ca.pem');
    expect(shown.map(({ authorization }) => authorization)).toEqual(Array(2).fill(`Bearer ${KEY}`));
  });

  it('showing what stands in the key file at the time of each call', async () => {
    vi.stubEnv('LINGPAI_KEY_FILE', await file('key', `${KEY}\n`));
    const broker = tokenClient(await serve(null));
    await broker.get({ appId: 'wxa' });
    await file('key', 'rotated');
    await broker.get({ appId: 'wxa' });
    await file('key', 'no key\nat all');
    const refusal = await broker.get({ appId: 'wxa' }).then(() => undefined, refusalOf);
    expect(refusal).toMatchObject({ code: 'Unauthenticated', message: expect.stringContaining('holds no key') });
    expect(shown.map(({ authorization }) => authorization)).toEqual([`Bearer ${KEY}`, 'Bearer rotated']);
  });

  it('sends a key to another machine by TLS, or without where that was said', () => {
    const env = { LINGPAI_KEY: KEY };
    const io = { cwd: () => folder };
    for (const addr of ['broker.internal:7600', 'http://192.0.2.1:7600', '[2001:db8::1]:7600']) {
      expect(() => targetOf({ addr }, io, env)).toThrow(
        /^the key would go to .* unencrypted: write --addr https:\/\/.*--plaintext/,
      );
      expect(targetOf({ addr, plaintext: true }, io, env).interceptors).toHaveLength(1);
      expect(targetOf({ addr }, io, {}).interceptors).toEqual([]);
    }
    expect(targetOf({ addr: 'https://broker.internal:7600' }, io, env).baseUrl).toBe('https://broker.internal:7600');
    for (const addr of ['localhost:7600', '[::1]:7600', '127.9.9.9:1']) targetOf({ addr }, io, env);
  });
});

describe('what is wrong is said in one sentence, with what to do', () => {
  it.each([
    ['another CA', {}, ['--ca', 'other.pem'], /not signed by a CA that is trusted here: .*--ca/],
    ['no CA', {}, [], /not signed by a CA that is trusted here: .*--ca/],
    ['a certificate that has expired', { notAfter: Date.now() - 1_000 }, ['--ca', 'ca.pem'], /has expired.*: renew it/],
    [
      'one that is not valid yet',
      { notBefore: Date.now() + DAY_MS },
      ['--ca', 'ca.pem'],
      /not valid yet: look at the clocks/,
    ],
    [
      'another name',
      { names: ['dns:broker.internal'] },
      ['--ca', 'ca.pem'],
      /made out to another name: .*DNS:broker\.internal/,
    ],
  ])('%s', async (_, certificate, args, words) => {
    await file('other.pem', clientCa.cert);
    const addr = `https://${await serve(certificate)}`;
    const { code, output } = await get('--addr', addr, ...args);
    expect({ code, output }).toEqual({ code: 1, output: expect.stringMatching(words) });
    expect(output.split('\n')).toHaveLength(2);
    expect(output).toContain(addr);
    expect(output).not.toMatch(/openssl|error:|gRPC port|use-system-ca/);
    expect(shown).toEqual([]);
    const json = JSON.parse((await get('--addr', addr, '--json', ...args)).output.split('\n')[0] ?? '');
    expect(json.error).toMatchObject({ isHandshake: true, message: expect.stringMatching(words) });
  });

  it('TLS on a port without it, and none on a port with it', async () => {
    const [plain, secure] = [await serve(null), await serve()];
    expect((await get('--addr', `https://${plain}`, '--ca', 'ca.pem')).output).toMatch(
      /^lingpai: https:.*: what answers does not speak TLS: write --addr http:.*\n$/,
    );
    for (const addr of [secure, `http://${secure}`])
      expect((await get('--addr', addr)).output).toBe(
        `lingpai: ${addr} closed the connection without an answer. If it serves TLS, write --addr https://${secure}\n`,
      );
  });

  it('the HTTP port instead of the gRPC port', async () => {
    const http = await serve({}, 'http');
    expect((await get('--addr', `https://${http}`, '--ca', 'ca.pem')).output).toMatch(
      /speaks TLS and no gRPC: name the gRPC port/,
    );
  });

  it.each([
    [['--addr', 'https://nonsense'], 'write HOST:PORT'],
    [['--addr', 'ftp://127.0.0.1:7600'], 'write HOST:PORT'],
    [['--addr', 'https://127.0.0.1:7600/path'], 'write HOST:PORT'],
    [['--ca', 'missing.pem'], 'missing.pem cannot be read: it does not exist'],
    [['--ca', 'half.pem'], 'half.pem is no file of whole certificates in PEM'],
    [['--ca', 'client.key'], 'client.key is no file of whole certificates in PEM'],
    [['--ca', 'ca.pem', '--cert', 'client.pem'], '--cert and --cert-key belong together'],
    [['--ca', 'ca.pem', '--cert-key', 'client.key'], '--cert and --cert-key belong together'],
    [['--cert', 'client.pem', '--cert-key', 'other.key'], 'other.key is not the key of --cert'],
    [['--cert', 'client.pem', '--cert-key', 'ca.pem'], 'has no private key in PEM'],
    [['--cert', 'old.pem', '--cert-key', 'old.key'], 'old.pem has expired at'],
    [['--addr', 'http://127.0.0.1:7600', '--cert', 'client.pem', '--cert-key', 'client.key'], 'write --addr https://'],
  ])('%j is wrong usage: exit code 2', async (args, words) => {
    const old = issue({ name: 'old', by: clientCa, notAfter: Date.now() - DAY_MS / 2 });
    await file('half.pem', ca.cert + clientCa.cert.slice(0, 200));
    await file('other.key', ca.key);
    await file('old.pem', old.cert);
    await file('old.key', old.key);
    const { code, output } = await get(...args);
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
    expect(output).not.toContain('PRIVATE');
  });

  it.each([
    [{ LINGPAI_KEY: 'two words' }, 'LINGPAI_KEY holds no key'],
    [{ LINGPAI_KEY: ' ' }, 'LINGPAI_KEY holds no key'],
    [{ LINGPAI_KEY: KEY, LINGPAI_KEY_FILE: 'key' }, 'are both set'],
    [{ LINGPAI_KEY_FILE: 'missing' }, 'missing cannot be read: it does not exist'],
    [{ LINGPAI_KEY_FILE: 'client.key' }, 'client.key holds no key'],
  ])('%j is wrong usage, and nothing of a key is shown', async (env, words) => {
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const { code, output } = await get();
    expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
    expect(output).not.toMatch(/two words|PRIVATE|0123456789/);
  });

  it('a key is no argument', async () => {
    expect(await get('--key', KEY)).toMatchObject({ code: 2, output: expect.stringContaining('unknown option') });
  });
});

it.each(['watch', 'status', 'refresh wxa', 'permits wxa', 'send --file messages', 'send --app wxa'])(
  '%s takes the same flags',
  async (command) => {
    await file('messages', '{}\n');
    const io = new CapturedIo(folder);
    const args = [
      ...command.split(' '),
      '--ca',
      'missing.pem',
      '--plaintext',
      '--cert',
      'client.pem',
      '--cert-key',
      'client.key',
    ];
    expect(await run(args, io)).toBe(2);
    expect(io.output).toMatch(/missing\.pem cannot be read|required|--to|write/);
    expect(io.output).not.toMatch(/unknown option|for one message/);
  },
);
