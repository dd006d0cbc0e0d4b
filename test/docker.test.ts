import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { expect, it } from 'vitest';
import { loadConfig } from '../src/config/load.ts';
import { Place, SECRET } from './support/lingpai.ts';

// No Docker runs here: these are the pieces of which the image and its command are made.
const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const DOCKERFILE = read('Dockerfile');
const [RUN = ''] = /^docker run .*$/m.exec(read('docs/operations.md')) ?? [];
const flags = (flag: string) =>
  [...RUN.matchAll(new RegExp(` ${flag} "?([^ "]+)"?`, 'g'))].map(([, value = '']) => value);
const instruction = (name: string) =>
  [...DOCKERFILE.matchAll(new RegExp(`^${name} (.*)$`, 'gm'))].map(([, text = '']) => text);

it('the manual gives the command, and what goes before it', () => {
  expect(RUN).not.toBe('');
  expect(read('docs/operations.md')).toContain('examples/docker.yaml data/lingpai.yaml');
});

it('what the command publishes, passes and mounts is what the configuration needs', async () => {
  const env = Object.fromEntries(flags('-e').map((name) => [name, SECRET]));
  const [path = ''] = instruction('CMD').map((command) => (JSON.parse(command) as string[]).at(-1) ?? '');
  const config = await loadConfig(path, env, { read: async () => read('examples/docker.yaml') });
  // On its own loopback nothing outside of the container gets there.
  expect([config.grpc.host, config.http.host]).toEqual(['0.0.0.0', '0.0.0.0']);
  const ports = [config.grpc.port, config.http.port];
  expect(flags('-p')).toEqual(ports.map((port) => `127.0.0.1:${port}:${port}`));
  expect(instruction('EXPOSE')).toEqual([ports.join(' ')]);
  const [volume = ''] = instruction('VOLUME');
  expect(flags('-v')).toEqual([`$PWD/data:${volume}`]);
  expect(dirname(path)).toBe(volume);
  expect(config.store.url).toBe(`sqlite:${volume}/lingpai.db`);
  expect(config.apps.map(({ secret }) => secret)).toEqual([SECRET]);
  // A drain takes up to 25 s, and Docker kills after 10 by default.
  expect(Number(flags('--stop-timeout')[0])).toBeGreaterThan(25);
});

it('the image has whatever the sources import', () => {
  const copied = instruction('COPY').flatMap((text) => text.split(' ').slice(0, -1));
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.[tj]s$/.test(file),
  );
  const outside = files.flatMap((file) =>
    [...read(`src/${file}`).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)]
      .map(([, name = '']) => normalize(join('src', dirname(file), name)))
      .filter((name) => !name.startsWith('src/')),
  );
  const library = 'clients/node/src';
  const beyond = outside.filter((name) => !name.startsWith(`${library}/`));
  expect(beyond).toEqual(['package.json']);
  // The library's package.json says that its files are modules.
  for (const name of ['src', library, 'clients/node/package.json', ...beyond]) expect(copied).toContain(name);
});

it('the configuration serves beyond loopback', async () => {
  await using place = await Place.make();
  const text = read('examples/docker.yaml')
    .replaceAll(/:76\d0/g, ':0')
    .replace(/^apps:[\s\S]*/m, '');
  const apps = `upstream: { base_url: "${place.wechat.url}" }\napps: [{ app_id: wxa, secret: { env: WX_SECRET } }]\n`;
  await writeFile(join(place.folder, 'lingpai.yaml'), text + apps);
  const broker = place.lingpaiWith({ WX_SECRET: SECRET }, 'serve');
  const ready = await broker.next('"ready"', (line) => line.msg === 'ready');
  expect(String(ready['http'])).toMatch(/^0\.0\.0\.0:\d+$/);
  const response = await fetch(`http://${String(ready['http']).replace('0.0.0.0', '127.0.0.1')}/livez`);
  expect(response.status).toBe(200);
});
