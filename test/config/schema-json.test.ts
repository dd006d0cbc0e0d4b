import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { configJsonSchema } from '../../src/config/schema-json.ts';
import { load } from './fixture.ts';
import { ONE, TWO } from './pem.ts';

const root = new URL('../../', import.meta.url);
const example = new URL('examples/lingpai.yaml', root);

interface Node {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Record<string, Node>;
  readonly items?: Node;
  readonly anyOf?: readonly Node[];
}

test('lingpai.schema.json is what the schema generates (npm run generate writes it)', async () => {
  expect(await readFile(new URL('lingpai.schema.json', root), 'utf8')).toBe(configJsonSchema());
});

test('every key has a description', () => {
  const bare: string[] = [];
  const visit = (node: Node, path: string) => {
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      if (!child.description) bare.push(`${path}${key}`);
      visit(child, `${path}${key}.`);
    }
    if (node.items) visit(node.items, path);
    // Those that say where a text stands are told of by what they stand for.
    const maps = node.anyOf?.filter(({ properties }) => properties) ?? [];
    if (maps.length === 1) visit(maps[0] ?? {}, path);
  };
  visit(JSON.parse(configJsonSchema()), '');
  expect(bare).toEqual([]);
});

test('what the example has as comments of access and TLS is right', async () => {
  const text = (await readFile(example, 'utf8')).replaceAll(/^# (tls: .*|access:| {2}.*)$/gm, '$1');
  const files = { cert: ONE.cert, key: ONE.key, client_ca: TWO.cert, keys: 'k', jwks: '{}' };
  const names = { 'tls/server.pem': 'cert', 'tls/server.key': 'key', 'tls/clients.pem': 'client_ca' } as const;
  const env = { WX_MINI_SECRET: 's' };
  const config = await loadConfig(example.pathname, env, {
    async read(path) {
      if (path === example.pathname) return text;
      const name = Object.keys(names).find((end) => path.endsWith(end)) as keyof typeof names | undefined;
      return name ? files[names[name]] : 'x';
    },
  });
  expect(config.tls).toMatchObject({ clientCa: TWO.cert });
  expect(config.access).toMatchObject({ blocked: [], limits: { calls: 1000, streams: 1000 } });
  expect(config.access === 'open' ? [] : config.access?.rules).toHaveLength(3);
  expect(config.warnings).toEqual([]);
});

test('the example shows every setting with its default', async () => {
  const written = parse(await readFile(example, 'utf8'));
  const defaults = await load('apps: [{ app_id: wx1, secret: s }]');
  const shown = await loadConfig(
    example.pathname,
    { WX_MINI_SECRET: 's' },
    {
      read: async (path) => (path === example.pathname ? readFile(path, 'utf8') : 's'),
    },
  );
  const { apps: _, path: __, secretFiles: ___, store: ____, fixed: _____, prints: ______, ...rest } = shown;
  expect(defaults).toMatchObject(rest);
  expect(written.store.url).toBe('sqlite:lingpai.db');
  const keys = (value: object) =>
    Object.entries(value).flatMap(([k, v]) => [k, ...Object.keys(v ?? {}).map((s) => `${k}.${s}`)]);
  const { apps: listed, ...sections } = JSON.parse(configJsonSchema()).properties as Record<string, Node>;
  expect(listed).toBeDefined();
  for (const [name, section] of Object.entries(sections))
    for (const key of Object.keys(section.properties ?? {})) expect(keys(written)).toContain(`${name}.${key}`);
});
