import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = join(import.meta.dirname, '../src');

/** What each room may import beside its own files. `commands` puts things together and may import every room. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  core: [],
  config: ['core'],
  wechat: ['core'],
  store: ['core'],
  sandbox: ['core'],
  ops: ['core'],
  rpc: ['core', 'gen'],
  server: ['core', 'gen'],
  commands: ['core', 'config', 'wechat', 'store', 'sandbox', 'ops', 'rpc', 'server', 'gen'],
};

/** What keeps the domain out of the world: `core` must be given time, randomness and I/O. */
const IMPURE = /Date\.now|new Date\(\)|Math\.random|performance\.|setTimeout|setInterval|process\.|\bfetch\(|crypto\./;

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('gen'))
  .map((file) => ({ file, room: file.includes('/') ? (file.split('/')[0] ?? '') : '', text: source(file) }));

function source(file: string): string {
  return readFileSync(join(SRC, file), 'utf8');
}

/** The module names that a file imports, statically or not. */
function imports(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
}

describe('the direction rule', () => {
  it('finds every room', () => {
    expect(new Set(files.map(({ room }) => room).filter((room) => room !== ''))).toEqual(
      new Set(Object.keys(MAY_IMPORT)),
    );
  });

  it.each(files.filter(({ room }) => room !== ''))('$file imports only what its room may', ({ file, room, text }) => {
    const allowed = new Set([room, ...(MAY_IMPORT[room] ?? [])]);
    const rooms = imports(text)
      .filter((name) => name.startsWith('.'))
      .map((name) => normalize(join(dirname(file), name)).split('/')[0] ?? '');
    expect(rooms.filter((other) => !allowed.has(other))).toEqual([]);
  });

  it.each(files.filter(({ room }) => room === 'core'))('$file is pure', ({ text }) => {
    expect(imports(text).filter((name) => !/^\.\.?\//.test(name))).toEqual([]);
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    expect(IMPURE.exec(code)?.[0]).toBeUndefined();
  });

  it('lets a file grow beyond 300 lines only for a reason that stands here', () => {
    // What may begin, and when, is read against each other.
    const reasons = new Set(['commands/running.ts', 'server/grpc-call.ts', 'core/keeper.ts', 'core/broker.ts']);
    const long = files.filter(({ text }) => text.split('\n').length > 301).map(({ file }) => file);
    expect(long.filter((file) => !reasons.has(relative('.', file)))).toEqual([]);
  });
});
