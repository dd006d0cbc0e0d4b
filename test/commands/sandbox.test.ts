import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeCertificate } from '../../src/sandbox/certificate.ts';
import { Place } from '../support/lingpai.ts';

/** The status of the sandbox's state for a client that trusts this authority. */
function status(url: string, ca: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(`${url}/sandbox/state`, { ca, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
}

it('--tls shows a certificate whose authority is in a file while it runs', async () => {
  await using place = await Place.make();
  const sandbox = place.lingpai('sandbox', '--listen', '127.0.0.1:0', '--tls');
  const { url, ca_file: file } = await sandbox.next('"ready"', (line) => line.msg === 'ready');
  expect(url).toMatch(/^https:/);
  expect(await status(String(url), await readFile(String(file), 'utf8'))).toBe(200);
  sandbox.signal('SIGTERM');
  expect(await sandbox.ended()).toBe(0);
  expect(existsSync(String(file))).toBe(false);
});

it('--tls-cert and --tls-key are shown as they are', async () => {
  await using place = await Place.make();
  const { cert, key, ca } = makeCertificate(['127.0.0.1'], Date.now());
  await writeFile(join(place.folder, 'cert.pem'), cert);
  await writeFile(join(place.folder, 'key.pem'), key);
  const files = ['--tls-cert', 'cert.pem', '--tls-key', 'key.pem'];
  const sandbox = place.lingpai('sandbox', '--listen', '127.0.0.1:0', ...files);
  const ready = await sandbox.next('"ready"', (line) => line.msg === 'ready');
  expect(ready).not.toHaveProperty('ca_file');
  expect(await status(String(ready.url), ca)).toBe(200);
});

it.each([
  ['cert.pem', undefined, '--tls-cert and --tls-key: give both'],
  ['none.pem', 'none.pem', 'none.pem: ENOENT'],
  ['cert.pem', 'text.pem', 'give a certificate and its key as PEM'],
  ['cert.pem', 'other.pem', 'give a certificate and its key as PEM'],
])('--tls-cert %s and --tls-key %s are wrong usage: exit code 2', async (cert, key, words) => {
  await using place = await Place.make();
  const at = (name: string) => join(place.folder, name);
  const [one, other] = [makeCertificate(['127.0.0.1'], Date.now()), makeCertificate(['127.0.0.1'], Date.now())];
  await writeFile(at('cert.pem'), one.cert);
  await writeFile(at('other.pem'), other.key);
  await writeFile(at('text.pem'), 'apps: []');
  const flags = ['--tls-cert', at(cert), ...(key === undefined ? [] : ['--tls-key', at(key)])];
  const { code, output } = await place.run('sandbox', '--listen', '127.0.0.1:0', ...flags);
  expect({ code, output }).toEqual({ code: 2, output: expect.stringContaining(words) });
});
