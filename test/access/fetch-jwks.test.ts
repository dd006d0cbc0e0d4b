import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fetchJwks } from '../../src/access/fetch-jwks.ts';
import { issue } from '../support/certificates.ts';

const ca = issue({ name: 'ca', isCa: true });
const pair = issue({ by: ca, names: ['ip:127.0.0.1'] });

let answer: RequestListener;
let requests: IncomingMessage[];
let url: string;
let folder: string;
let close: () => void;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lingpai-jwks-'));
  requests = [];
  const server = createServer({ cert: pair.cert, key: pair.key }, (request, response) => {
    requests.push(request);
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  close = () => {
    server.closeAllConnections();
    server.close();
  };
});
afterEach(async () => {
  close();
  await rm(folder, { recursive: true });
});

const fetched = (
  overrides: { ca?: string | null; tokenFile?: string | null } = {},
  signal = new AbortController().signal,
) => fetchJwks({ url, ca: ca.cert, tokenFile: null, ...overrides }, signal);

it('the text is fetched by the authority that is named, and by no other', async () => {
  answer = (_, response) => response.end('{"keys":[]}');
  expect(await fetched()).toBe('{"keys":[]}');
  expect(requests[0]?.headers['authorization']).toBeUndefined();
  await expect(fetched({ ca: null })).rejects.toMatchObject({ code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' });
  expect(requests).toHaveLength(1);
});

it('the bearer token is read at each request', async () => {
  answer = (_, response) => response.end('');
  const tokenFile = join(folder, 'token');
  for (const token of ['first', 'second']) {
    await writeFile(tokenFile, `${token}\n`);
    await fetched({ tokenFile });
  }
  expect(requests.map(({ headers }) => headers['authorization'])).toEqual(['Bearer first', 'Bearer second']);
  await writeFile(tokenFile, 'secret one\r\nsecret: two');
  await expect(fetched({ tokenFile })).rejects.toThrow('the token file has no token in it');
  await expect(fetched({ tokenFile: join(folder, 'none') })).rejects.toMatchObject({ code: 'ENOENT' });
  expect(requests).toHaveLength(2);
});

it('a redirect is not followed, nor is an answer taken that is none or too long', async () => {
  answer = (_, response) => response.writeHead(302, { location: url }).end();
  await expect(fetched()).rejects.toThrow('the answer was HTTP 302');
  expect(requests).toHaveLength(1);
  answer = (_, response) => response.end(' '.repeat(256 * 1024 + 1));
  await expect(fetched()).rejects.toMatchObject({ code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' });
  answer = (_, response) => response.end(' '.repeat(256 * 1024));
  expect(await fetched()).toHaveLength(256 * 1024);
});

it('an answer that does not come is given up', async () => {
  const abort = new AbortController();
  answer = () => abort.abort(new Error('enough'));
  await expect(fetched({}, abort.signal)).rejects.toThrow('enough');
});
