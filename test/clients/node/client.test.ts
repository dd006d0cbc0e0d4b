import { readdirSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Client,
  ClosedError,
  ConfigurationError,
  connect,
  type LingpaiEvent,
  NoTokenError,
  type Options,
  RejectedError,
  RpcError,
  StartTimeoutError,
} from '../../../clients/node/src/index.ts';
import { FakeBroker, fixedSource } from '../../../clients/node/src/testing.ts';
import { Middlebox } from '../../support/middlebox.ts';
import { until } from '../../support/until.ts';

const timing = {
  silenceMs: 700,
  connectMs: 500,
  backoffBaseMs: 20,
  backoffCapMs: 50,
  backoffFloorMs: 10,
  appRetryMs: 60,
};
const eventually = (isSo: () => boolean) => until(5000, () => (isSo() ? undefined : String(isSo)));
const sockets = () => readdirSync('/proc/self/fd').length;

describe('a client of a fake broker', () => {
  let broker: FakeBroker;
  let events: LingpaiEvent[];
  const clients: Client[] = [];
  beforeEach(async () => {
    broker = await FakeBroker.start('wx1', 'wx2');
    events = [];
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.close();
    await broker.stop();
  });
  const open = async (options: Partial<Options> = {}, target = broker.target) => {
    const client = await connect(target, { apps: ['wx1'], timing, onEvent: (event) => events.push(event), ...options });
    clients.push(client);
    return client;
  };

  it('starts with a token, follows a rotation, and prints ids only (R1, R2, R18)', async () => {
    const source = (await open()).app('wx1');
    const first = source.token;
    expect(first.generation).toBe(1n);
    const value = broker.rotate('wx1');
    const second = await source.waitFor(2n, { timeoutMs: 5000 });
    expect(second.value).toBe(value);
    expect(second.previous?.value).toBe(first.value);
    const printed = [
      String(second),
      JSON.stringify({ second }),
      inspect(second, { depth: 9, showHidden: true }),
      JSON.stringify(events, (_, v) => (typeof v === 'bigint' ? String(v) : v)),
      inspect(source, { depth: 9, showHidden: true }),
    ];
    for (const text of printed) expect(text).not.toContain('FAKE_');
    expect(printed[0]).toBe(second.id);
  });

  it('updates brings the newest only, and ends at the close', async () => {
    const client = await open();
    const updates = client.app('wx1').updates();
    expect((await updates.next()).value?.generation).toBe(1n);
    for (let i = 0; i < 5; i++) broker.rotate('wx1');
    await client.app('wx1').waitFor(6n, { timeoutMs: 5000 });
    expect((await updates.next()).value?.generation).toBe(6n);
    const last = updates.next();
    await client.close();
    expect(await last).toEqual({ done: true, value: undefined });
  });

  it('a hundred callers with a dead token make one report, and each tries twice (R11, R12)', async () => {
    const source = (await open()).app('wx1');
    broker.kill('wx1');
    let attempts = 0;
    const business = async (token: string) => {
      attempts++;
      if (!broker.honours('wx1', token)) throw new RejectedError(40001);
      return 'sent';
    };
    const sent = await Promise.all(Array.from({ length: 100 }, () => source.call(business)));
    expect(new Set(sent)).toEqual(new Set(['sent']));
    expect(attempts).toBe(200);
    expect(broker.reports).toBe(1);
  });

  it('a good token that was refused: the refusal as it is, after one attempt (R12)', async () => {
    const source = (await open()).app('wx1');
    const refusal = new RejectedError(42001);
    let attempts = 0;
    const failing = source.call(() => {
      attempts++;
      throw refusal;
    });
    await expect(failing).rejects.toBe(refusal);
    expect(attempts).toBe(1);
    expect(broker.reports).toBe(1);
  });

  it('a report below the held generation makes no call (R11)', async () => {
    const source = (await open()).app('wx1');
    const old = source.token;
    broker.rotate('wx1');
    await source.waitFor(2n, { timeoutMs: 5000 });
    expect(await source.report(old)).toMatchObject({ outcome: 'NEWER_HELD', token: { generation: 2n } });
    expect(broker.reports).toBe(0);
  });

  it('a goaway is followed by a new stream, and is no failure (R7)', async () => {
    const client = await open();
    broker.drain(30);
    await eventually(() => client.stats().reconnects === 1);
    expect(client.stats()).toMatchObject({ state: 'LIVE', goaways: 1, attempts: 2 });
    expect(events.map(({ type }) => type)).not.toContain('error');
  });

  it('behind a dead connection it dials a new one (R6)', async () => {
    await using box = await Middlebox.before(new URL(broker.target).host);
    const client = await open({}, `http://127.0.0.1:${box.port}`);
    box.freeze();
    broker.rotate('wx1');
    expect((await client.app('wx1').waitFor(2n, { timeoutMs: 5000 })).generation).toBe(2n);
    expect(client.stats()).toMatchObject({ state: 'LIVE', reconnects: 1 });
  });

  it('a start that nobody answers ends in time, and leaves no socket although the other side keeps its own (R4, R15)', async () => {
    const mute = createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const held: Socket[] = [];
    mute.on('connection', (socket) => held.push(socket));
    const before = sockets();
    const start = open({ startTimeoutMs: 300 }, `http://127.0.0.1:${(mute.address() as AddressInfo).port}`);
    await expect(start).rejects.toThrow(StartTimeoutError);
    await eventually(() => sockets() <= before + held.length);
    for (const socket of held) socket.destroy();
    mute.close();
  });

  it('an unknown app fails the start, and names it (R4)', async () => {
    const error = await open({ apps: ['wx1', 'wx9'] }).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ code: 'NOT_FOUND', reason: 'APP_NOT_FOUND', app: 'wx9' });
  });

  it('an unknown app does not starve the others (R10)', async () => {
    const client = await open({ apps: ['wx9', 'wx1'], startOptional: true });
    expect(() => client.app('wx9').token).toThrow(NoTokenError);
    await client.app('wx1').waitFor(1n, { timeoutMs: 5000 });
    expect(client.stats().apps['wx9']).toMatchObject({ state: 'NONE', reason: 'NOT_FOUND' });
    await eventually(() => events.some((event) => event.type === 'error' && event.during === 'get'));
    expect(client.stats()).toMatchObject({ state: 'LIVE', attempts: 2 });
  });

  it('survives the broker, and says so (R3, R17)', async () => {
    const client = await open();
    await broker.stop();
    await eventually(() => client.stats().state === 'STALE');
    expect(client.app('wx1').token.generation).toBe(1n);
  });

  it('close wakes who waits, may be called twice, and swallows the user (R15, R17)', async () => {
    const client = await open({
      onEvent: () => {
        throw new Error('of the user');
      },
    });
    const waiting = client.app('wx1').waitFor(99n);
    const woken = expect(waiting).rejects.toThrow(ClosedError);
    await Promise.all([client.close(), client.close()]);
    await woken;
    expect(() => client.app('wx1').token).toThrow(ClosedError);
    await expect(client.app('wx1').call(() => 1)).rejects.toThrow(ClosedError);
    expect(client.stats().state).toBe('CLOSED');
  });

  it('a key that never comes holds up neither a report nor the close (R6, R15)', async () => {
    let isStuck = false;
    const key = () => (isStuck ? new Promise<string>(() => {}) : 'key');
    const client = await open({ key, timing: { ...timing, callMs: 50 } });
    const source = client.app('wx1');
    isStuck = true;
    await expect(source.report(source.token)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    const stuck = await open({ key, startOptional: true, timing: { ...timing, callMs: 60_000 } });
    const reported = stuck.app('wx1').report(1n);
    const rejected = expect(reported).rejects.toThrow(ClosedError);
    await stuck.close();
    await rejected;
  });

  it('a key that cannot be read is a slow case, and the token is served (R9)', async () => {
    const client = await open({ startOptional: true, keyFile: '/nowhere/key' });
    await eventually(() => events.some(({ type }) => type === 'error'));
    expect(events.find(({ type }) => type === 'error')).toMatchObject({ code: 'UNAUTHENTICATED' });
    const [error] = events.filter((event) => event.type === 'error');
    expect(error?.retryInMs).toBeGreaterThanOrEqual(30_000);
    await client.close();
  });

  it.each<[string, Partial<Options>, string, string]>([
    ['127.0.0.1', {}, 'target', 'HOST:PORT'],
    ['ftp://a:1', {}, 'target', 'HOST:PORT'],
    ['a:1', { apps: [] }, 'apps', '1 to 10,000'],
    ['a:1', { apps: ['a b'] }, 'apps', 'no app id'],
    ['a:1', { key: 'k' }, 'key', 'unencrypted'],
    ['a:1', { key: () => 'k' }, 'key', 'unencrypted'],
    ['https://a:1', { key: 'k', keyFile: 'f' }, 'keyFile', 'one of them'],
    ['127.0.0.1:1', { key: 'two words' }, 'key', 'holds no key'],
    ['https://a:1', { tls: { cert: 'c' } }, 'tls', 'belong together'],
    ['http://a:1', { tls: { ca: 'c' } }, 'tls', 'https://a:1'],
    ['a:1', { timing: { silenceMs: 0 } }, 'timing.silenceMs', 'at least 1'],
    ['a:1', { startTimeoutMs: -1 }, 'startTimeoutMs', 'more than 0'],
  ])('%s with %j is wrong: %s', async (target, options, option, words) => {
    const error = await open(options, target).catch((thrown) => thrown);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.option).toBe(option);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain('two words');
  });
});

it('a fixed source needs no broker', async () => {
  const source = fixedSource('wx1', 'A', 'B');
  expect(source.token.value).toBe('A');
  const used: string[] = [];
  await source.call((token) => {
    used.push(token);
    if (token === 'A') throw new RejectedError(40001);
  });
  expect(used).toEqual(['A', 'B']);
});

it('an answer of WeChat is checked for the three errcodes', () => {
  for (const errcode of [40001, 40014, 42001]) expect(() => RejectedError.check({ errcode })).toThrow(RejectedError);
  for (const answer of [{ errcode: 0 }, { errcode: 45009 }, {}, null]) expect(RejectedError.check(answer)).toBe(answer);
});
