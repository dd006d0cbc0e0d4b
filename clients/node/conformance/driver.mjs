// The driver of @lingpai/client: test/conformance/README.md says how it is spoken to.
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect, isRefusal, LingpaiError, RejectedError } from '../dist/index.js';

const clients = new Map();
const say = (answer) =>
  process.stdout.write(
    `${JSON.stringify(answer, (_, value) => (typeof value === 'bigint' ? String(value) : value))}\n`,
  );
const idOf = (value) => createHash('sha256').update(value).digest('hex').slice(0, 12);

const shown = ({ generation, value, previous }) => ({
  generation,
  tokenId: idOf(value),
  ...(previous && { previousId: idOf(previous.value) }),
});

/** A business error that is not about the token. */
class UserError extends Error {
  constructor(errcode) {
    super(`errcode ${errcode}`);
    this.errcode = errcode;
  }
}

/** A client under its name, with its events and the tokens that were read, by generation. */
const clientOf = ({ client }) => {
  const found = clients.get(client);
  if (!found) throw new Error(`there is no client ${client}`);
  return found;
};
const sourceOf = (request) => {
  const { client } = clientOf(request);
  return client.app(request.app);
};
const remember = (request, token) => {
  clientOf(request).tokens.set(`${request.app} ${token.generation}`, token);
  return shown(token);
};

const ops = {
  hello: () => ({ name: 'node', version: '0.1.0', transport: 'grpc', capabilities: ['tls'] }),

  async create({ client: name, options: { target, keyFile, ...options } }) {
    const events = [];
    const own = { ...options, ...(keyFile && { keyFile }), onEvent: (event) => events.push(event) };
    clients.set(name, { client: await connect(target, own), events, tokens: new Map() });
    return {};
  },

  token: (request) => remember(request, sourceOf(request).token),

  wait: async (request) =>
    remember(request, await sourceOf(request).waitFor(BigInt(request.generation), { timeoutMs: request.timeoutMs })),

  async call(request) {
    const tokenIds = [];
    try {
      await sourceOf(request).call(async (token) => {
        const errcode = request.script[tokenIds.push(idOf(token)) - 1];
        if (isRefusal(Number(errcode))) throw new RejectedError(Number(errcode));
        if (errcode !== 'ok') throw new UserError(errcode);
      });
      return { attempts: tokenIds.length, tokenIds };
    } catch (error) {
      throw Object.assign(error, { calls: { attempts: tokenIds.length, tokenIds } });
    }
  },

  async report(request) {
    const source = sourceOf(request);
    const { generation } = request;
    const token =
      generation === undefined ? source.token : clientOf(request).tokens.get(`${request.app} ${generation}`);
    const { outcome, token: newest } = await source.report(token ?? BigInt(generation));
    return { outcome, ...(newest && shown(newest)) };
  },

  stats: (request) => clientOf(request).client.stats(),
  events: (request) => ({ events: clientOf(request).events.splice(0) }),

  bench(request) {
    const source = sourceOf(request);
    let length = 0;
    const began = process.hrtime.bigint();
    for (let i = 0; i < request.reads; i++) length += source.token.value.length;
    return { nsPerRead: Number(process.hrtime.bigint() - began) / request.reads, length };
  },

  leaks() {
    globalThis.gc?.();
    return { threads: readdirSync('/proc/self/task').length, files: readdirSync('/proc/self/fd').length };
  },

  async close(request) {
    await clientOf(request).client.close();
    if (request.forget) clients.delete(request.client);
    return {};
  },
};

function described(error) {
  if (error instanceof LingpaiError) {
    const { kind, code, errcode, reason, message } = error;
    return { kind, code: String(code ?? errcode ?? ''), reason: reason ?? '', message };
  }
  return { kind: 'Rejected', code: String(error.errcode ?? ''), reason: '', message: error.message };
}

async function answer(line) {
  const request = JSON.parse(line);
  try {
    if (!Object.hasOwn(ops, request.op)) throw new Error(`unknown op ${request.op}`);
    say({ id: request.id, ok: await ops[request.op](request) });
  } catch (error) {
    say({ id: request.id, error: { ...described(error), ...error.calls } });
  }
}

const input = createInterface({ input: process.stdin });
input.on('line', answer);
input.on('close', () => process.exit(0));
