import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.ts';
import { CODES } from '../src/rpc/errors.ts';
import { Place } from './support/lingpai.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const README = read('README.md');
const CHINESE = read('README.zh-CN.md');

/** The fenced blocks of a language, in order. */
function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => match[1] ?? '');
}

describe("the README's shell snippets work against the demo", () => {
  let place: Place;
  const ports: Record<string, string> = {};
  beforeAll(async () => {
    place = await Place.make();
    const demo = place.lingpai('demo', '--grpc', '127.0.0.1:0', '--http', '127.0.0.1:0', '--sandbox', '127.0.0.1:0');
    const ready = await demo.next('"ready"', (line) => line.msg === 'ready');
    ports['127.0.0.1:7600'] = String(ready['grpc']);
    ports['127.0.0.1:7680'] = String(ready['http']);
    ports['127.0.0.1:7690'] = new URL(String(ready['sandbox'])).host;
  });
  afterAll(() => place[Symbol.asyncDispose]());

  it.each(blocks(README, 'sh'))('%s', async (block) => {
    const script = Object.entries(ports).reduce((text, [shown, real]) => text.replaceAll(shown, real), block);
    const env = { ...process.env, LINGPAI_ADDR: ports['127.0.0.1:7600'] };
    const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: ROOT, env });
    expect(stdout).not.toBe('');
    expect(stdout).not.toContain('"error"');
  });

  it('the files that it shows are sent and deposited, and it mends what was refused', async () => {
    const [messages = '', permits = ''] = blocks(README, 'json');
    const mend = blocks(README, 'console').find((block) => block.startsWith('awk')) ?? '';
    const file = (name: string) => join(place.folder, name);
    const addr = ['--addr', ports['127.0.0.1:7600'] ?? ''];
    const bad = '{"appId": "wxdemostable"}\n';
    await writeFile(file('messages.ndjson'), `${messages}\n${bad}${messages}`);
    const { output } = await place.run('send', '--file', 'messages.ndjson', ...addr);
    expect(output).toContain('5 messages: 4 sent, 1 refused');
    await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', mend], { cwd: place.folder });
    expect(await readFile(file('mended.ndjson'), 'utf8')).toBe(bad);
    await writeFile(file('permits.ndjson'), permits);
    const deposited = await place.run('permits', 'wxdemostable', '--deposit', 'permits.ndjson', ...addr);
    expect(deposited).toEqual({ code: 0, output: '2 deposited, 0 known already, 0 expired\n' });
  });

  it('the metrics that it names exist', async () => {
    const metrics = await (await fetch(`http://${ports['127.0.0.1:7680']}/metrics`)).text();
    for (const [name] of README.matchAll(/lingpai_\w+/g)) expect(metrics).toContain(name);
  });
});

it('its configuration is valid, and that of docs/cluster.md', async () => {
  for (const block of blocks(README + read('docs/cluster.md'), 'yaml')) {
    const config = await loadConfig('lingpai.yaml', { WX_SECRET: 'x' }, { read: async () => block });
    expect(config.apps).toHaveLength(1);
  }
});

it('its configuration table has every setting', () => {
  const settings = new Set<string>();
  const collect = (schema: Record<string, unknown>, path: string) => {
    const properties = schema['properties'] as Record<string, Record<string, unknown>> | undefined;
    for (const [key, below] of Object.entries(properties ?? {})) {
      if (below['properties']) collect(below, `${path}${key}.`);
      else if (key === 'apps') collect(below['items'] as Record<string, unknown>, 'apps[].');
      else settings.add(path + key);
    }
  };
  collect(JSON.parse(read('lingpai.schema.json')), '');
  const section = README.slice(README.indexOf('## Configuration'), README.indexOf('## Errors'));
  const listed = section
    .split('\n')
    .flatMap((line) => [...(/^\| (`.*?) \|/.exec(line)?.[1] ?? '').matchAll(/`([^`]+)`/g)]);
  expect(new Set(listed.map((match) => match[1]))).toEqual(settings);
});

it('its error table has every reason', () => {
  const section = README.slice(README.indexOf('## Errors'), README.indexOf('## Operations'));
  const rows = section.split('\n').filter((line) => /^\| [A-Z_]+ \|/.test(line));
  const listed = rows.flatMap(
    (row) =>
      row
        .split('|')[2]
        ?.split(',')
        .map((reason) => reason.trim()) ?? [],
  );
  expect(new Set(listed)).toEqual(new Set(Object.keys(CODES)));
});

it.each(['go', 'python', 'java'])('its %s snippets stand in the example', (language) => {
  const folder = join(ROOT, 'examples', language);
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(go|py|java)$/.test(file) && !/(^|\/)(gen|target|\.venv)\//.test(file))
    .map((file) => readFileSync(join(folder, file), 'utf8'));
  const snippets = blocks(README, language);
  expect(snippets.length).toBeGreaterThan(0);
  for (const snippet of snippets) expect(sources.some((source) => source.includes(snippet))).toBe(true);
});

it('npm runs every script that it names', () => {
  const { scripts } = JSON.parse(read('package.json'));
  const commands = blocks(README + read('CONTRIBUTING.md') + read('docs/cluster.md'), '(?:sh|console)').join('\n');
  for (const [, script = ''] of commands.matchAll(/npm run (?:-s )?(\w+)/g))
    expect(Object.keys(scripts)).toContain(script);
});

it.each([
  ['README.md', README],
  ['docs/cluster.md', read('docs/cluster.md').replaceAll('](../', '](')],
  ['README.zh-CN.md', CHINESE],
  ['CONTRIBUTING.md', read('CONTRIBUTING.md')],
])('the links of %s lead somewhere', (_, text) => {
  for (const [, link = ''] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
    expect({ link, there: existsSync(join(ROOT, link)) }).toEqual({ link, there: true });
  }
});

it('the Chinese README has the same snippets', () => {
  for (const language of ['sh', 'console', 'json', 'yaml', 'go', 'python', 'java']) {
    expect(blocks(CHINESE, language)).toEqual(blocks(README, language));
  }
});
