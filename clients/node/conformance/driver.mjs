// The kit's driver of this library: test/conformance/README.md says what it answers.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import {
  ClosedError,
  ConfigurationError,
  connect,
  isRejection,
  NoTokenError,
  RejectedError,
  RpcError,
  StartTimeoutError,
} from '../dist/index.js';

const clients = new Map();
const idOf = (value) => createHash('sha256').update(value).digest('hex').slice(0, 12);

/** An error of the user's own business. */
class BusinessError extends Error {
  constructor(errcode) {
    super(`errcode ${errcode}`);
    this.errcode = errcode;
  }
}

function shown(entry, token) {
  entry.seen.set(`${token.generation}`, token);
  const previous = token.previous && { previousId: idOf(token.previous.value) };
  return { generation: String(token.generation), tokenId: idOf(token.value), ...previous };
}

async function wait(entry, app, generation, timeoutMs) {
  const source = entry.client.app(app);
  const late = new Promise((_, reject) => {
    const timer = setTimeout(
      () => reject(Object.assign(new Error('not in time'), { kind: 'NoToken', reason: 'TIMEOUT' })),
      timeoutMs,
    );
    timer.unref();
  });
  const held = async () => {
    for await (const token of source.updates()) if (token.generation >= BigInt(generation)) return shown(entry, token);
    throw new ClosedError();
  };
  return Promise.race([held(), late]);
}

async function call(entry, app, script) {
  const tokenIds = [];
  try {
    await entry.client.app(app).call((token) => {
      tokenIds.push(idOf(token));
      const result = script[tokenIds.length - 1] ?? 'ok';
      if (result === 'ok') return;
      const errcode = Number(result);
      throw isRejection(errcode) ? new RejectedError(errcode) : new BusinessError(errcode);
    });
    return { attempts: tokenIds.length, tokenIds };
  } catch (error) {
    throw Object.assign(error, { attempts: tokenIds.length, tokenIds });
  }
}

const ops = {
  hello: () => ({ name: 'node', version: '0.1.0', transport: 'grpc', capabilities: ['tls'] }),
  async create({ client, options: { target, ...options } }) {
    const entry = { client: undefined, events: [], seen: new Map() };
    entry.client = await connect(target, { ...options, onEvent: (event) => entry.events.push(event) });
    clients.set(client, entry);
    return {};
  },
  token: ({ entry, app }) => shown(entry, entry.client.app(app).token),
  wait: ({ entry, app, generation, timeoutMs }) => wait(entry, app, generation, timeoutMs),
  call: ({ entry, app, script }) => call(entry, app, script),
  async report({ entry, app, generation }) {
    const source = entry.client.app(app);
    const { outcome, token } = await source.report(entry.seen.get(generation) ?? source.token);
    return { outcome, ...shown(entry, token) };
  },
  stats: ({ entry }) => entry.client.stats(),
  events: ({ entry }) => ({ events: entry.events.splice(0) }),
  bench({ entry, app, reads }) {
    const source = entry.client.app(app);
    let length = 0;
    const start = process.hrtime.bigint();
    for (let read = 0; read < reads; read++) length += source.token.value.length;
    if (length === 0) throw new Error('nothing was read');
    return { nsPerRead: Number(process.hrtime.bigint() - start) / reads };
  },
  leaks() {
    globalThis.gc?.();
    const threads = Number(/^Threads:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    return { threads, files: readdirSync('/proc/self/fd').length };
  },
  async close({ entry }) {
    await entry.client.close();
    return {};
  },
};

function explain(error) {
  const { message, attempts, tokenIds } = error;
  const more = { message, ...(tokenIds && { attempts, tokenIds }) };
  if (error.kind) return { kind: error.kind, reason: error.reason, ...more };
  if (error instanceof NoTokenError) return { kind: 'NoToken', reason: error.reason, ...more };
  if (error instanceof ClosedError) return { kind: 'Closed', ...more };
  if (error instanceof RejectedError) return { kind: 'Rejected', code: String(error.errcode), ...more };
  if (error instanceof StartTimeoutError) return { kind: 'StartTimeout', ...more };
  if (error instanceof ConfigurationError) return { kind: 'Configuration', ...more };
  if (error instanceof RpcError) return { kind: 'Rpc', code: error.code, reason: error.reason, ...more };
  return { kind: 'Other', code: String(error.errcode ?? ''), ...more };
}

const input = createInterface({ input: process.stdin });
input.on('line', async (line) => {
  const { id, op, ...fields } = JSON.parse(line);
  let answer;
  try {
    answer = { id, ok: await ops[op]({ ...fields, entry: clients.get(fields.client) }) };
  } catch (error) {
    answer = { id, error: explain(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
input.on('close', async () => {
  await Promise.all([...clients.values()].map(({ client }) => client.close()));
});
