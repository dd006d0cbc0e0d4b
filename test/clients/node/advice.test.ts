import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Server as Tcp } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { type Access, connect } from '../../../clients/node/src/index.ts';
import { issue } from '../../support/certificates.ts';

const servers: (Server | Tcp)[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function portOf(server: Server | Tcp): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const ca = issue({ name: 'advice', isCa: true });
const { cert, key } = issue({ names: ['dns:elsewhere'], by: ca, usage: 'server' });
const answer404: RequestListener = (_, response) => response.writeHead(404).end();
const tls = () =>
  createTls({ cert, key, ca: ca.cert }, (socket) => socket.on('error', () => {}).resume()).on(
    'tlsClientError',
    () => {},
  );
const http1 = () => createServer(answer404);
const hangsUp = () => createTcp((socket) => socket.destroy());

/** What the start says that goes wrong. */
async function startOf(target: string, options: Access = {}): Promise<string> {
  const timing = { backoffBaseMs: 20, backoffCapMs: 50, backoffFloorMs: 10, ...options.timing };
  const start = connect(target, { apps: ['wx1'], startTimeoutMs: 400, ...options, timing });
  return start.then(
    () => 'it started',
    ({ message }) => message,
  );
}

describe('a mistake in the options is told with what to write', () => {
  it.each([
    [
      'the HTTP port',
      http1,
      (port: number) => `http://127.0.0.1:${port}`,
      /speaks no gRPC: name the broker's gRPC port/,
    ],
    [
      'TLS to a port without',
      http1,
      (port: number) => `https://127.0.0.1:${port}`,
      /does not speak TLS: write http:\/\//,
    ],
    [
      'no TLS to a port with',
      hangsUp,
      (port: number) => `127.0.0.1:${port}`,
      /serves TLS, write https:\/\/127\.0\.0\.1:\d+/,
    ],
    ['a CA of its own', tls, (port: number) => `https://127.0.0.1:${port}`, /give `tls\.ca` the file of the CA/],
  ])('%s', async (_, server, target, words) => {
    const message = await startOf(target(await portOf(server())));
    expect(message).toMatch(words);
    expect(message).not.toMatch(/\n|deps\/openssl/);
  });

  it.each<[Access, RegExp]>([
    [{ keyFile: '/nowhere/key' }, /keyFile \/nowhere\/key cannot be read: ENOENT: no such file or directory \(/],
    [{ keyFile: '/' }, /keyFile \/ cannot be read: EISDIR: illegal operation on a directory \(/],
    [{ keyFile: '/dev/null' }, /keyFile \/dev\/null: holds no key: write what "lingpai keys create" printed/],
    [{ tls: { ca: '/nowhere/ca.pem' } }, /tls\.ca \/nowhere\/ca\.pem cannot be read: ENOENT/],
  ])('%j', async (options, words) => {
    expect(await startOf('127.0.0.1:9', options)).toMatch(words);
  });
});
