import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Sdk, sdks } from '../sdk/sdks.ts';

const ROOT = join(import.meta.dirname, '../..');
const PAGES = ['docs/gateway.md', 'docs/gateway.zh-CN.md'];
const PINS = ['package.json', 'requirements.txt', 'go.mod', 'pom.xml'];
const read = (...path: string[]) => readFileSync(join(ROOT, ...path), 'utf8');

/** What the page is to call an SDK, and the lines of its driver between the marks, as far to the left as they go. */
function marked({ driver }: Sdk): { title: string; lines: string } {
  const mark = /^( *)(?:\/\/|#) docs\/gateway\.md: (.*)\n([\s\S]*?)^ *(?:\/\/|#) docs\/gateway\.md: end$/gm;
  const [found, ...more] = [...read('test/sdk', driver).matchAll(mark)];
  if (!found || more.length > 0) throw new Error(`${driver} needs one pair of marks`);
  const [, indent = '', title = '', lines = ''] = found;
  return { title, lines: lines.replaceAll(new RegExp(`^${indent}`, 'gm'), '').trim() };
}

/** The sections of a page by their titles: the version in the title, and the first fenced block. */
function sections(page: string): Map<string, { version: string; lines: string }> {
  const section = /^### (.*) (\S+)\n(?:(?!#).*\n)*?```\w+\n([\s\S]*?)\n```$/gm;
  return new Map(
    [...read(page).matchAll(section)].map(([, title = '', version = '', lines = '']) => [title, { version, lines }]),
  );
}

describe.each(PAGES)('%s', (page) => {
  const shown = sections(page);

  it.each(sdks)('has the lines that move $name, as they are tested, and the version', (sdk) => {
    const { title, lines } = marked(sdk);
    expect(shown.get(title)?.lines).toBe(lines);
    const pins = PINS.map((file) => join(sdk.folder, file)).filter(existsSync);
    expect(pins.map((file) => readFileSync(file, 'utf8')).join('\n')).toContain(shown.get(title)?.version);
  });

  it('shows no SDK that is not tested', () => {
    expect([...shown.keys()]).toEqual(sdks.map((sdk) => marked(sdk).title));
  });
});
