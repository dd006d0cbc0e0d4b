import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashOf, isKey, publicKeyOf } from '../../src/access/key.ts';
import { formatKeys, parseKeys, type StoredKey } from '../../src/access/key-file.ts';
import { AdminService, CallerMethod } from '../../src/gen/lingpai/v1/admin_pb.js';
import { run } from '../../src/main.ts';
import { makeKey } from '../support/access-key.ts';
import { CapturedIo, fakeBroker } from '../support/command.ts';

const DAY_MS = 86_400_000;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-keys-'));
  await configure('access: { keys: lingpai.keys, rules: [] }\n');
});
afterEach(() => rm(folder, { recursive: true }));

async function configure(text: string): Promise<void> {
  await writeFile(join(folder, 'lingpai.yaml'), text);
}

/** What is printed on standard output, apart from the rest. */
class ApartIo extends CapturedIo {
  out = '';
  err = '';
  override readonly stdout = {
    write: (text: string) => {
      this.out += text;
    },
  };
  override readonly stderr = {
    write: (text: string) => {
      this.err += text;
    },
  };
}

async function keys(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = new ApartIo(folder);
  const code = await run(['keys', ...args], io);
  return { code, out: io.out, err: io.err };
}

async function stored(): Promise<StoredKey[]> {
  return parseKeys(await readFile(join(folder, 'lingpai.keys'), 'utf8'));
}

async function store(...all: StoredKey[]): Promise<void> {
  await writeFile(join(folder, 'lingpai.keys'), formatKeys(all));
}

describe('keys create', () => {
  it('prints the key alone, keeps what it can be known by, and says how to let it do something', async () => {
    const { code, out, err } = await keys('create', 'orders');
    expect(code).toBe(0);
    const key = out.trimEnd();
    expect(out).toBe(`${key}\n`);
    expect(isKey(key)).toBe(true);
    expect(err).not.toContain(key.slice(8, 20));
    expect(err).toContain('access: { rules: [{ who: ["key:orders"], may: [read], apps: [APP_ID] }] }');
    const [only] = await stored();
    expect(only).toMatchObject({ name: 'orders', hash: hashOf(key), public: publicKeyOf(key) });
    expect((only?.expires ?? 0) - (only?.created ?? 0)).toBe(365 * DAY_MS);
    expect(await readFile(join(folder, 'lingpai.keys'), 'utf8')).not.toContain(key.slice(8, 20));
  });

  it.each([
    ['30m', 30 * 60_000],
    ['12h', 12 * 3_600_000],
    ['7d', 7 * DAY_MS],
  ])('--expires %s is kept', async (text, ms) => {
    await keys('create', 'a', '--expires', text);
    const [only] = await stored();
    expect((only?.expires ?? 0) - (only?.created ?? 0)).toBe(ms);
  });

  it('--expires never is kept, and a second key of a name is one beside the first', async () => {
    await keys('create', 'a', '--expires', 'never');
    const { err } = await keys('create', 'a');
    expect((await stored()).map(({ expires }) => expires === null)).toEqual([true, false]);
    expect(err).toContain('It is good beside 1 other key of this name.');
  });

  it.each(['0d', '1', 'd', '-1d', '1.5d', '3651d', '99999999d', 'for ever', ''])(
    '--expires "%s" is refused',
    async (text) => {
      const { code, out, err } = await keys('create', 'a', '--expires', text);
      expect(code).toBe(2);
      expect(out).toBe('');
      expect(err).toContain('Write');
    },
  );

  it('a name that can be none is refused, and no key is printed', async () => {
    const { code, out, err } = await keys('create', 'a*');
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('the name is not 1 to 64 letters');
  });

  it('a key that expired long ago goes when another is made, and not before', async () => {
    const old = (days: number) => makeKey(`d${days}`, { expires: Date.now() - days * DAY_MS }).stored;
    await store(old(89), old(91));
    await keys('create', 'new');
    expect((await stored()).map(({ name }) => name)).toEqual(['d89', 'new']);
  });

  it('nothing is printed where nothing could be kept', async () => {
    await configure('access: { keys: nowhere/lingpai.keys }');
    const { code, out, err } = await keys('create', 'a');
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('nowhere/lingpai.keys cannot be made: its folder is not there');
  });
});

describe('keys rotate', () => {
  it('lets the old keys of the name, and no others, expire after the overlap', async () => {
    const soon = Date.now() + DAY_MS;
    const [never, ending, over, other] = [
      makeKey('a').stored,
      makeKey('a', { expires: soon }).stored,
      makeKey('a', { expires: 5 }).stored,
      makeKey('b').stored,
    ];
    await store(never, ending, { ...over, expires: Date.now() - 1 }, other);
    const { out, err } = await keys('rotate', 'a', '--overlap', '7d');
    expect(isKey(out.trimEnd())).toBe(true);
    expect(err).toContain('The others of this name are good until 20');
    const [first, second, third, fourth, fresh] = await stored();
    expect((first?.expires ?? 0) - (fresh?.created ?? 0)).toBe(7 * DAY_MS);
    expect(second?.expires).toBe(soon);
    expect(third?.expires).toBeLessThan(fresh?.created ?? 0);
    expect(fourth?.expires).toBeNull();
    expect(fresh).toMatchObject({ name: 'a', hash: hashOf(out.trimEnd()) });
  });

  it('a name without a key is told, and nothing is made', async () => {
    await store(makeKey('a').stored);
    const { code, out, err } = await keys('rotate', 'b');
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain('no key of this name');
    expect(await stored()).toHaveLength(1);
  });
});

describe('keys revoke', () => {
  it('by id ends one, by name all', async () => {
    const [a1, a2, a3, b] = [makeKey('a').stored, makeKey('a').stored, makeKey('a').stored, makeKey('b').stored];
    await store(a1, a2, a3, b);
    expect((await keys('revoke', a2.id)).err).toBe(`revoked a ${a2.id}: brokers end its streams within 5 s\n`);
    expect(await stored()).toEqual([a1, a3, b]);
    await keys('revoke', 'a');
    expect(await stored()).toEqual([b]);
    const { code, err } = await keys('revoke', 'a');
    expect(code).toBe(1);
    expect(err).toContain('no key of this name or id');
  });

  it('a key that stands on the command line is told its id, and not repeated', async () => {
    const { key, stored: one } = makeKey('a');
    await store(one);
    const { code, err } = await keys('revoke', key);
    expect(code).toBe(2);
    expect(err).toContain(`revoke it by its id: ${one.id}`);
    expect(err).not.toContain(key.slice(8, 20));
    expect(await stored()).toEqual([one]);
  });
});

describe('keys list', () => {
  it('shows names, ids and times, and nothing that a key could be known by', async () => {
    const [a, b] = [makeKey('a', { created: 0, expires: 1_000 }).stored, makeKey('b').stored];
    await store(a, b);
    const { out } = await keys('list');
    expect(out.split('\n').slice(1, 3)).toEqual([
      `a     ${a.id}  1970-01-01T00:00:00Z  1970-01-01T00:00:01Z (expired)`,
      `b     ${b.id}  1970-01-01T00:00:00Z  never`,
    ]);
    const json = await keys('list', '--json');
    expect(JSON.parse(json.out)).toEqual({
      keys: [
        { name: 'a', id: a.id, created: '1970-01-01T00:00:00Z', expires: '1970-01-01T00:00:01Z', expired: true },
        { name: 'b', id: b.id, created: '1970-01-01T00:00:00Z', expires: null, expired: false },
      ],
    });
    for (const text of [out, json.out]) expect(text).not.toContain(a.hash.slice(12));
  });

  it('a file that is not there yet has no keys', async () => {
    expect((await keys('list')).out).toContain('make one: lingpai keys create NAME');
  });

  it('a file that is broken is told by its line', async () => {
    await writeFile(join(folder, 'lingpai.keys'), '{\n');
    const { code, err } = await keys('list');
    expect(code).toBe(1);
    expect(err).toContain('line 1 is not JSON');
  });
});

describe('the configuration', () => {
  it.each(['apps: []', 'access: open', 'access:', 'access: { rules: [] }', '', '- 1'])(
    '"%s" names no key file, and what to write is said',
    async (text) => {
      await configure(text);
      const { code, err } = await keys('create', 'a');
      expect(code).toBe(2);
      expect(err).toContain('access: { keys: lingpai.keys, rules: [] }');
    },
  );

  it('that is not there, or is no YAML, is told', async () => {
    await configure('access: {');
    expect((await keys('list')).err).toContain('lingpai.yaml:1: lacks the "]" or "}"');
    const { code, err } = await keys('list', '--config', 'other.yaml');
    expect(code).toBe(2);
    expect(err).toContain('other.yaml: does not exist; name the file with --config FILE');
  });
});

describe('keys list --addr', () => {
  it('adds when each key was used last, and its open streams, as the broker knows', async () => {
    const [used, idle] = [makeKey('used').stored, makeKey('idle').stored];
    await store(used, idle);
    const callers = [
      {
        name: 'key:used',
        credentialId: used.id,
        method: CallerMethod.KEY,
        lastUseTime: timestampFromMs(0),
        openStreams: 3,
      },
      { name: 'spiffe://x', credentialId: idle.id, method: CallerMethod.CERTIFICATE, openStreams: 9 },
    ];
    // A page has one caller.
    await using broker = await fakeBroker((router) =>
      router.service(AdminService, {
        listCallers: ({ pageToken }) =>
          pageToken === '' ? { callers: callers.slice(1), nextPageToken: 'more' } : { callers: callers.slice(0, 1) },
      }),
    );
    const { code, out } = await keys('list', '--addr', broker.addr);
    expect(code).toBe(0);
    const rows = out.split('\n').map((line) => line.split(/ {2,}/));
    expect(rows[0]?.slice(4)).toEqual(['LAST USE', 'STREAMS']);
    expect(rows[1]?.slice(4)).toEqual(['1970-01-01T00:00:00Z', '3']);
    expect(rows[2]?.slice(4)).toEqual(['-', '0']);
    const json = JSON.parse((await keys('list', '--addr', broker.addr, '--json')).out);
    expect(json.keys.map(({ lastUse, openStreams }: Record<string, unknown>) => [lastUse, openStreams])).toEqual([
      ['1970-01-01T00:00:00Z', 3],
      [null, 0],
    ]);
  });

  it('asks nobody without it, and says why a broker refuses', async () => {
    await store(makeKey('a').stored);
    expect((await keys('list')).out).not.toContain('LAST USE');
    await using broker = await fakeBroker((router) => router.service(AdminService, {}));
    const { code, err } = await keys('list', '--addr', broker.addr);
    expect([code, err]).toEqual([1, expect.stringContaining('not implemented')]);
  });
});
