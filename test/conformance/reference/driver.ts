/**
 * The reference driver: `node driver.ts [--transport grpc|connect] [--break NAME]...`. It speaks test/conformance/README.md on its
 * standard input and output. NAME is one of switches.ts.
 */
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type Options, ReferenceClient } from './client.ts';
import type { TransportKind } from './connection.ts';
import { idOf } from './holdings.ts';
import { Fault, type Held } from './rules.ts';
import { switches } from './switches.ts';

const { values } = parseArgs({
  options: { transport: { type: 'string', default: 'grpc' }, break: { type: 'string', multiple: true, default: [] } },
});
const transport: TransportKind = values.transport === 'connect' ? 'connect' : 'grpc';
for (const name of values.break) {
  if (!(name in switches)) throw new Error(`--break ${name}: not one of switches.ts`);
}
const broken = (name: string) => values.break.includes(name);

interface Request {
  readonly id: number;
  readonly op: string;
  readonly client: string;
  readonly app: string;
  readonly options: Options;
  readonly generation?: string;
  readonly timeoutMs: number;
  readonly script: string[];
  readonly reads: number;
  readonly forget?: boolean;
}

const clients = new Map<string, ReferenceClient>();
const optionsOf = new Map<string, Options>();
/** Tokens that were read, so that one of them can be reported: by client, app and generation. */
const seen = new Map<string, string>();

function clientOf({ client }: Request): ReferenceClient {
  const found = clients.get(client);
  if (found === undefined) throw new Fault('Configuration', `there is no client ${client}`);
  return found;
}

function forget(name: string): void {
  clients.delete(name);
  optionsOf.delete(name);
  for (const key of seen.keys()) if (key.startsWith(`${name} `)) seen.delete(key);
}

function told({ client, app }: Request, held: Held) {
  seen.set(`${client} ${app} ${held.generation}`, held.value);
  const { previous } = held;
  const previousId =
    previous !== undefined && performance.now() < previous.until ? { previousId: idOf(previous.value) } : {};
  return { generation: `${held.generation}`, tokenId: idOf(held.value), ...previousId };
}

const ops: Record<string, (request: Request) => unknown> = {
  hello: () => ({ name: 'reference', version: '0.1.0', transport, capabilities: ['tls', 'fork'] }),
  create: async ({ client, options }) => {
    clients.set(client, await ReferenceClient.start(options, transport, broken));
    optionsOf.set(client, options);
    return {};
  },
  token: (request) => told(request, clientOf(request).token(request.app)),
  wait: async (request) =>
    told(request, await clientOf(request).wait(request.app, BigInt(request.generation ?? 0), request.timeoutMs)),
  call,
  report: async (request) => {
    const generation = request.generation === undefined ? undefined : BigInt(request.generation);
    const refused =
      generation === undefined
        ? clientOf(request).token(request.app)
        : { generation, value: seen.get(`${request.client} ${request.app} ${generation}`) };
    const { outcome, held } = await clientOf(request).report(request.app, refused);
    return { outcome, generation: `${held.generation}`, tokenId: idOf(held.value) };
  },
  stats: (request) => clientOf(request).stats(),
  events: (request) => ({ events: clientOf(request).events.splice(0) }),
  bench: (request) => {
    const client = clientOf(request);
    const start = performance.now();
    let length = 0;
    for (let read = 0; read < request.reads; read += 1) length += client.token(request.app).value.length;
    const nsPerRead = ((performance.now() - start) * 1e6) / request.reads;
    return { nsPerRead, length };
  },
  fork: forked,
  leaks: async () => {
    (globalThis as { gc?: () => void }).gc?.();
    // A socket that was destroyed is closed a turn later.
    await setImmediate();
    return { threads: readdirSync('/proc/self/task').length, files: readdirSync('/proc/self/fd').length };
  },
  close: async (request) => {
    await clientOf(request).close();
    if (request.forget) forget(request.client);
    return {};
  },
};

async function call(request: Request) {
  const tokenIds: string[] = [];
  try {
    await clientOf(request).call(request.app, async (held) => {
      told(request, held);
      const step = request.script[tokenIds.length] ?? 'ok';
      tokenIds.push(idOf(held.value));
      if (step === 'ok') return;
      const isRejected = ['40001', '40014', '42001'].includes(step);
      throw new Fault(isRejected ? 'Rejected' : 'User', `WeChat answered errcode ${step}`, { code: step });
    });
    return { attempts: tokenIds.length, tokenIds };
  } catch (error) {
    throw Object.assign(error instanceof Fault ? error : new Fault('User', String(error)), {
      attempts: tokenIds.length,
      tokenIds,
    });
  }
}

/** Node has no fork: a process of its own, which starts with the options and nothing else, plays the child. */
async function forked(request: Request) {
  const { generation = '0', timeoutMs, app } = request;
  const child = fork(import.meta.filename, process.argv.slice(2), { stdio: ['pipe', 'pipe', 'inherit', 'ipc'] });
  const answers = createInterface({ input: child.stdout ?? process.stdin });
  const created = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<unknown>();
  answers.on('line', (line) => {
    const { id, ok, error } = JSON.parse(line);
    if (error !== undefined) answer.reject(new Fault(error.kind, error.message, error));
    if (id === 1) created.resolve();
    if (id === 2) answer.resolve(ok);
  });
  const send = (message: object) => child.stdin?.write(`${JSON.stringify(message)}\n`);
  try {
    send({ id: 1, op: 'create', client: 'child', options: { ...optionsOf.get(request.client), startOptional: true } });
    await created.promise;
    // A child whose thread was lost in the fork hears of nothing.
    if (broken('fork-child-stands-still')) send({ id: 3, op: 'close', client: 'child' });
    send({ id: 2, op: 'wait', client: 'child', app, generation, timeoutMs });
    const [parent, theirs] = await Promise.all([
      clientOf(request).wait(app, BigInt(generation), timeoutMs),
      answer.promise,
    ]);
    return { parent: told(request, parent), child: theirs };
  } finally {
    child.stdin?.end();
    child.disconnect();
  }
}

async function answer(line: string): Promise<void> {
  const request: Request = JSON.parse(line);
  const reply = (body: object) => process.stdout.write(`${JSON.stringify({ id: request.id, ...body })}\n`);
  try {
    const op = ops[request.op];
    if (op === undefined) throw new Fault('Configuration', `there is no op ${request.op}`);
    reply({ ok: await op(request) });
  } catch (error) {
    if (!(error instanceof Fault)) reply({ error: { kind: 'Bug', message: String(error) } });
    else {
      const { kind, code, reason, message, attempts, tokenIds } = error as Fault & {
        attempts?: number;
        tokenIds?: string[];
      };
      reply({ error: { kind, code, reason, message, attempts, tokenIds } });
    }
  }
}

createInterface({ input: process.stdin })
  .on('line', (line) => void answer(line))
  // Whatever is still open: the user is gone.
  .on('close', () => process.exit(0));
