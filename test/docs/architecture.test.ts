import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { mapTable } from '../support/rooms.ts';

const ROOT = join(import.meta.dirname, '../..');
const DOCS = join(ROOT, 'docs');
const page = readFileSync(join(DOCS, 'architecture.md'), 'utf8');
/** What is built by a later step has no tests yet, and says so. */
const TO_COME = ['P14'];

/** The rows of the table of promises. */
const promises = [...page.matchAll(/^\| (P\d+) \|(.*)\|$/gm)].map(([, id = '', rest = '']) => {
  const [statement = '', decided = '', tests = ''] = rest.split(' | ').map((cell) => cell.trim());
  return { id, statement, decided, tests };
});

function linksIn(text: string): string[] {
  return [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, link = '']) => link);
}

describe('the links of the documents', () => {
  const documents = readdirSync(DOCS).filter((file) => file.endsWith('.md'));
  it.each(documents)('of %s lead to files', (file) => {
    const links = linksIn(readFileSync(join(DOCS, file), 'utf8')).filter((link) => !/^https?:/.test(link));
    expect(links.filter((link) => !existsSync(join(DOCS, link)))).toEqual([]);
  });
});

describe('the promises', () => {
  it('are P1 to P18, each once', () => {
    expect(promises.map(({ id }) => id)).toEqual(Array.from({ length: 18 }, (_, index) => `P${index + 1}`));
  });

  it.each(promises.filter(({ id }) => !TO_COME.includes(id)))('$id names who decides it, and its tests', (promise) => {
    expect(promise.statement).not.toBe('');
    expect(linksIn(promise.decided).filter((link) => link.startsWith('../src/'))).not.toEqual([]);
    expect(linksIn(promise.tests).filter((link) => link.startsWith('../test/'))).not.toEqual([]);
  });

  it.each(promises.filter(({ id }) => TO_COME.includes(id)))('$id is to come', ({ decided, tests }) => {
    expect([decided, tests]).toEqual(['to come', 'to come']);
  });

  it('of tests are all on the page', () => {
    const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' });
    const named = files
      .filter((file) => file.endsWith('.test.ts') && dirname(file) !== 'docs')
      .flatMap((file) => [...readFileSync(join(ROOT, 'test', file), 'utf8').matchAll(/['"`(\s](P\d+)\b[:),]/g)])
      .map(([, id = '']) => id);
    expect([...new Set(named)].filter((id) => !promises.some((promise) => promise.id === id))).toEqual([]);
  });
});

it('the map is the one that the direction rule enforces', () => {
  expect(/<!-- map -->\n([\s\S]*?)\n<!-- \/map -->/.exec(page)?.[1]).toBe(mapTable());
});
