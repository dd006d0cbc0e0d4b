import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { load } from '../../src/app/load.ts';
import { runBroker } from '../../src/app/run.ts';
import { storeKey } from '../../src/commands/store-key.ts';
import { run } from '../../src/main.ts';
import { createLogger } from '../../src/ops/log.ts';
import { Keyring } from '../../src/store/keyring.ts';
import { newKeyText } from '../../src/store/seal-key.ts';
import { CapturedIo } from '../support/command.ts';
import { Place } from '../support/lingpai.ts';
import { RedisServer } from '../support/redis.ts';
import { until } from '../support/until.ts';

let place: Place;
let redis: RedisServer;
beforeAll(async () => {
  [place, redis] = [await Place.make(), await RedisServer.start()];
});
afterAll(async () => {
  await place[Symbol.asyncDispose]();
  await redis[Symbol.asyncDispose]();
});

const [K1, K2] = [newKeyText(), newKeyText()];
const ID1 = Keyring.parse([K1]).sealing;
const settings = { refresh: { probe_interval: '0s' } };

/** Has something done with a broker in this process, whose records these keys seal. */
async function serving<T>(
  url: string,
  seal: readonly string[],
  act: (at: { grpc: string; http: string }) => Promise<T>,
) {
  const lines: string[] = [];
  const config = await load(await place.configure({ ...settings, store: { url } }));
  const logger = createLogger({ level: 'info', destination: { write: (line) => void lines.push(line) } });
  const running = await runBroker({ ...config, store: { ...config.store, seal } }, logger);
  try {
    const done = await act(running);
    return { done, log: lines.join('') };
  } finally {
    await running.stop();
  }
}

const tokens = async ({ grpc }: { grpc: string }) => {
  const outputs = ['wxa', 'wxb'].map((app) => place.run('get', app, '--addr', grpc, '--json', '--show-token'));
  return (await Promise.all(outputs)).map(({ output }) => JSON.parse(output).state.current.value as string);
};
const recordsLines = async ({ http }: { http: string }) => {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  return text.split('\n').filter((line) => line.startsWith('lingpai_store_records{'));
};
const calls = () => place.wechat.wechat.calls.length;
const URLS = { sqlite: () => 'sqlite:sealed.db', redis: () => redis.url('?prefix=sealed:') } as const;

describe.each(['sqlite', 'redis'] as const)('%s', (kind) => {
  it('is sealed step by step without a mint, and the metric says when the old key may go', async () => {
    const url = URLS[kind]();
    const { done: before } = await serving(url, [], tokens);
    const made = calls();
    const steps = [
      [
        ['plain', K1],
        ['lingpai_store_records{key="plain"} 2', `lingpai_store_records{key="${ID1}"} 0`],
      ],
      [
        [K1, 'plain'],
        [`lingpai_store_records{key="${ID1}"} 2`, 'lingpai_store_records{key="plain"} 0'],
      ],
      [[K1], [`lingpai_store_records{key="${ID1}"} 2`]],
    ] as const;
    for (const [seal, lines] of steps) {
      const { done, log } = await serving(url, seal, async (at) => {
        await until(10_000, async () => {
          const found = (await recordsLines(at)).join();
          return found === lines.join() ? undefined : found;
        });
        return await tokens(at);
      });
      expect(done).toEqual(before);
      const isResealed = seal[0] === K1 && seal.length === 2;
      expect(log.includes(`"key":"${ID1}","records":2,"msg":"store records sealed anew"`)).toBe(isResealed);
      for (const secret of [...before, K1]) expect(log).not.toContain(secret);
    }
    expect(calls()).toBe(made);
  });

  it('whose key is lost is not begun with; forget --sealed is the way out, at a mint for the classic app (P18)', async () => {
    const url = URLS[kind]();
    await place.configure({ ...settings, store: { url } });
    const made = calls();
    const { code, output } = await place.runProcess('serve');
    expect(code).toBe(1);
    expect(output).toMatch(
      new RegExp(`2 records cannot be opened: are sealed by key ${ID1}\\. Held: plain\\. .*store forget`),
    );
    expect(calls()).toBe(made);

    const refused = await place.run('store', 'forget', '--sealed');
    expect(refused).toMatchObject({ code: 1, output: expect.stringContaining('nothing was removed') });
    expect(refused.output).toMatch(/wxa {2}classic\nwxb {2}stable\n.*: 1 mint, one for each classic app/);
    const { done } = await serving(url, [K1], tokens);
    expect(done).toHaveLength(2);
    expect(calls()).toBe(made);

    await place.configure({ ...settings, store: { url } });
    const forgotten = await place.run('store', 'forget', '--sealed', '--yes', '--json');
    expect(forgotten.code).toBe(0);
    expect(JSON.parse(forgotten.output.split('\n').find((line) => line.startsWith('{')) ?? '')).toEqual({
      forgotten: [
        { appId: 'wxa', issuer: 'classic' },
        { appId: 'wxb', issuer: 'stable' },
      ],
    });
    const mints = () => place.wechat.wechat.counts('wxa').mints;
    const before = mints();
    await serving(url, [], tokens);
    expect(mints() - before).toBe(1);
    expect(await place.run('store', 'forget', '--sealed')).toEqual({
      code: 0,
      output: 'no record is sealed by a key that is not held\n',
    });
  });
});

it('forget asks, and takes yes for an answer', async () => {
  const url = 'sqlite:asked.db';
  await serving(url, [K1], tokens);
  await place.configure({ ...settings, store: { url } });
  const io = new CapturedIo(place.folder, 'yes\n');
  expect(await run(['store', 'forget', '--sealed'], io)).toBe(0);
  expect(io.output).toContain('Remove these records? Type yes and Enter: 2 removed\n');
});

it.each([
  [['store', 'forget'], 'say what to forget: --sealed'],
  [
    ['store', 'copy', '--from', 'sqlite:a.db', '--to', 'sqlite:b.db', '--from-seal', 'no.key'],
    '--from-seal no.key: ENOENT',
  ],
  [
    ['store', 'copy', '--from', 'sqlite:a.db', '--to', 'sqlite:b.db', '--to-seal', 'bad.key'],
    '--to-seal[0]: it does not begin',
  ],
])('%j is wrong usage: exit code 2', async (args, words) => {
  writeFileSync(join(place.folder, 'bad.key'), 'hunter2');
  await place.configure({ ...settings, store: { url: 'sqlite:a.db' } });
  const { code, output } = await place.run(...args);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
  expect(output).not.toContain('hunter2');
});

it('a copy opens with the keys of the one store and seals with those of the other', async () => {
  const [file1, file2] = ['one.key', 'two.key'];
  writeFileSync(join(place.folder, file1), `${K1}\n`);
  writeFileSync(join(place.folder, file2), `${K2}\n`);
  const { done: before } = await serving('sqlite:from.db', [K1], tokens);
  const made = calls();
  const args = ['store', 'copy', '--from', 'sqlite:from.db', '--to', 'sqlite:to.db'];
  const wrong = await place.run(...args, '--from-seal', file2);
  expect(wrong).toMatchObject({
    code: 1,
    output: expect.stringMatching(new RegExp(`sealed by key ${ID1}.*to --from-seal`)),
  });
  const copied = await place.run(...args, '--from-seal', file1, '--to-seal', file2, '--to-seal', 'plain');
  expect(copied).toMatchObject({ code: 0, output: expect.stringContaining('apps              2 copied') });
  const { done: after } = await serving('sqlite:to.db', [K2], tokens);
  expect(after).toEqual(before);
  expect(calls()).toBe(made);
});

it('store key prints one new key, alone on standard output', () => {
  const texts = ['', ''];
  for (const i of [0, 1]) {
    const said = { out: [] as string[], err: [] as string[] };
    const stdout = { write: (text: string) => void said.out.push(text) };
    const stderr = { write: (text: string) => void said.err.push(text) };
    storeKey({ stdout, stderr });
    const [out, err] = [said.out.join(''), said.err.join('')];
    texts[i] = out;
    expect(out).toMatch(/^lpseal1_[A-Za-z0-9_-]{48}\n$/);
    const id = Keyring.parse([out]).sealing;
    expect(err).toContain(`key ${id}: keep the line in a file`);
    expect(err).not.toContain(out.trim());
  }
  expect(texts[0]).not.toBe(texts[1]);
});
