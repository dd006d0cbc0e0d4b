/** The gateway's forwarder on node:http, or a reverse proxy that does nothing but pass on: what any such proxy costs. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Pool } from 'undici';
import { Forwarder } from '../../src/gateway/forwarder.ts';
import { systemClock } from '../../src/ops/clock.ts';
import { BusinessApi } from '../../src/wechat/business-api.ts';
import { answer } from './report.ts';

const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host', 'content-length']);
const MIB = 1024 * 1024;

function forwarder(baseUrl: string): RequestListener {
  const shared = { timeoutMs: 10_000, proxy: null, clock: systemClock };
  const upstream = new BusinessApi({ baseUrl, ...shared });
  const passing = new Forwarder({
    upstream,
    tokenOf: () => 'the-real-token-of-the-app',
    report: async () => undefined,
    secretOf: () => undefined,
    clock: systemClock,
    limits: {
      calls: 4_096,
      callsPerApp: 4_096,
      keptBytes: 64 * MIB,
      keptBytesPerCall: MIB,
      headersTimeoutMs: 10_000,
      stallTimeoutMs: 30_000,
      tokenTimeoutMs: 5_000,
    },
  });
  return (request, response) => {
    const [path = '', query = ''] = (request.url ?? '').split('?');
    const credential = new URLSearchParams(query).get('access_token') ?? '';
    void passing.forward(request, response, { appId: 'wx1', kind: 'business', path, query, credential });
  };
}

function bare(baseUrl: string): RequestListener {
  const pool = new Pool(baseUrl, { connections: null });
  return (request, response) => {
    const { rawHeaders, url = '/', method = 'GET' } = request;
    const headers: string[] = [];
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
      const name = rawHeaders[i] ?? '';
      if (!HOP_BY_HOP.has(name.toLowerCase())) headers.push(name, rawHeaders[i + 1] ?? '');
    }
    const length = request.headers['content-length'];
    if (length !== undefined) headers.push('content-length', length);
    const body = length === undefined ? null : request;
    pool
      .stream({ path: url, method, headers, body }, ({ statusCode, headers: answered }) => {
        const { connection, 'keep-alive': _, 'transfer-encoding': __, ...passed } = answered;
        return response.writeHead(statusCode, passed as Record<string, string>);
      })
      .catch(() => response.destroy());
  };
}

answer({
  async listen({ kind, baseUrl }: { kind: 'forwarder' | 'bare'; baseUrl: string }): Promise<string> {
    const listener = kind === 'bare' ? bare(baseUrl) : forwarder(baseUrl);
    const server = createServer({ keepAliveTimeout: 60_000 }, listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', 4_096, resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
});
process.on('SIGTERM', () => process.exit());
