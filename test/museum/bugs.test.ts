import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Bug, edited } from './bug.ts';

const ROOT = join(import.meta.dirname, '../..');
const bugs = await Promise.all(
  readdirSync(join(import.meta.dirname, 'bugs')).map(async (file) => {
    const name = file.replace('.ts', '');
    const { bug } = (await import(`./bugs/${name}.ts`)) as { bug: Bug };
    return { name, bug };
  }),
);

describe('the bugs of the museum', () => {
  // Whether they are caught is for `npm run museum`; that they still fit is soon seen.
  it.each(bugs)('$name can be put back', ({ bug }) => {
    const texts = new Map<string, string>();
    for (const edit of bug.edits) {
      const text = texts.get(edit.file) ?? readFileSync(join(ROOT, edit.file), 'utf8');
      texts.set(edit.file, edited(text, edit));
    }
    expect(texts.size).toBeGreaterThan(0);
    expect(readFileSync(join(ROOT, bug.caughtBy.file), 'utf8')).toContain("from 'vitest'");
  });
});

describe('an edit', () => {
  const edit = { file: 'a.ts', find: 'b', replace: '$&' };

  it('replaces its anchor, to the letter', () => {
    expect(edited('abc', edit)).toBe('a$&c');
  });

  it.each([
    ['not at all', 'ac'],
    ['2 times', 'abcb'],
    ['3 times', 'bbb'],
  ])('whose anchor stands %s is refused', (times, text) => {
    expect(() => edited(text, edit)).toThrow(`the anchor stands ${times} in a.ts`);
  });
});
