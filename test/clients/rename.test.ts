import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { chosen, filesOf, type Names, renamed } from '../../clients/rename.ts';

const root = join(import.meta.dirname, '../..');
const now: Names = JSON.parse(readFileSync(join(root, 'clients/names.json'), 'utf8'));
const to: Names = { go: 'code.acme.test/broker/clients/go', maven: 'test.acme', npm: '@acme/tokens' };

/** Files that speak of the names themselves. */
const own = ['clients/rename.ts', 'test/clients/rename.test.ts'];

const files = filesOf(root)
  .filter(
    (path) => !own.includes(path) && /^(clients|examples|docs|test|README)/.test(path) && existsSync(join(root, path)),
  )
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));

it('no name stands in another form than the one that is replaced', () => {
  const left = files.filter(({ text }) => {
    const after = renamed(text, now, to);
    return after.includes(now.go) || after.includes(now.npm) || after.includes(`>${now.maven}<`);
  });
  expect(left.map(({ path }) => path)).toEqual([]);
});

it('the names come back when they are replaced twice', () => {
  const changed = files.filter(({ text }) => renamed(text, now, to) !== text);
  expect(changed.map(({ path }) => path)).toContain('clients/names.json');
  for (const { text } of changed) expect(renamed(renamed(text, now, to), to, now)).toBe(text);
});

it('what stands below a name is renamed with it, and a longer name is left', () => {
  const text = `import "${now.go}/lingpaitest"; ${now.go}-more; other/${now.go}; import x from '${now.npm}/testing';`;
  expect(renamed(text, now, to)).toBe(
    `import "${to.go}/lingpaitest"; ${now.go}-more; other/${now.go}; import x from '${to.npm}/testing';`,
  );
});

it.each([
  ['--go', 'acme'],
  ['--maven', 'Acme Inc'],
  ['--npm', 'Acme'],
])('%s %s is refused by name', (flag, name) => {
  expect(() => chosen([flag, name], now)).toThrow(`${flag} ${name} is no such name: write one like `);
});
