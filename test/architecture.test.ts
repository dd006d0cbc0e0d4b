import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOMS, STOREYS } from './support/rooms.ts';

const SRC = join(import.meta.dirname, '../src');

/** What keeps the domain out of the world: `core` must be given time, randomness and I/O. */
const IMPURE = /Date\.now|new Date\(\)|Math\.random|performance\.|setTimeout|setInterval|process\.|\bfetch\(|crypto\./;

/** Why a file is longer than 300 lines. */
const LONG: Readonly<Record<string, string>> = {
  'core/access/access.ts': 'What is asked, and what goes on, is decided by the same newest rules.',
  'core/cluster/shared-record.ts': 'What is seen, what is pending and what is in use are one state.',
  'core/tokens/keeper.ts': 'What may begin, and when, is read against each other.',
  'wechat/errcodes.ts': 'It is one table.',
  'gateway/passage.ts': 'One call, from its arrival to the end of its answer.',
};

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && !file.startsWith('gen'))
  .map((file) => ({ file, room: roomOf(file), text: readFileSync(join(SRC, file), 'utf8') }));

/** The room of a file in a room: `rpc`, or the storey `core/tokens`. Empty for what stands beside the rooms. */
function roomOf(file: string): string {
  const [room = '', storey = '', ...rest] = file.split('/');
  if (storey === '') return '';
  if (room === '..') return `${storey}/${rest[0]}`; // clients/node, which is beside src
  return room === 'core' && rest.length > 0 ? `core/${storey}` : room;
}

/** The module names that a file imports, statically or not. */
function imports(text: string): string[] {
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] ?? '');
}

/** The rooms that a file imports, but its own. */
function neighbours({ file, room, text }: (typeof files)[number]): string[] {
  return imports(text)
    .filter((name) => name.startsWith('.'))
    .map((name) => roomOf(normalize(join(dirname(file), name))))
    .filter((other) => other !== room);
}

describe('the direction rule', () => {
  it('knows every room and every storey', () => {
    const { core: _, ...rooms } = ROOMS;
    const expected = new Set([...Object.keys(rooms), ...Object.keys(STOREYS)]);
    expect(new Set(files.map(({ room }) => room).filter((room) => room !== ''))).toEqual(expected);
  });

  it.each(files.filter(({ room }) => room !== ''))('$file imports only what its room may', (file) => {
    const allowed = new Set((STOREYS[file.room] ?? ROOMS[file.room])?.mayImport);
    const isAllowed = (other: string) => allowed.has(other) || (other.startsWith('core/') && allowed.has('core'));
    expect(neighbours(file).filter((other) => !isAllowed(other))).toEqual([]);
  });

  it.each(files.filter(({ room }) => room.startsWith('core/')))('$file is pure', ({ text }) => {
    expect(imports(text).filter((name) => !/^\.\.?\//.test(name))).toEqual([]);
    const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    expect(IMPURE.exec(code)?.[0]).toBeUndefined();
  });

  it('lets a file grow beyond 300 lines only for a reason that stands here', () => {
    const long = files.filter(({ text }) => text.split('\n').length > 301).map(({ file }) => file);
    expect(long.filter((file) => !(file in LONG))).toEqual([]);
  });
});
