import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { APP, CHANNELS, clientOf, deliveryOf, failureOf, never, serveHttp, TOKEN } from './support.ts';

const GRANTED = JSON.stringify({ access_token: TOKEN, expires_in: 7200 });
const SPACES = (bytes: number) => Buffer.from(GRANTED.padEnd(bytes, ' '));

/** A client of a server that answers everything with these bytes, under this content-encoding. */
async function answering(encoding: string, body: Buffer) {
  return clientOf(
    await serveHttp((_, response) => response.writeHead(200, { 'content-encoding': encoding }).end(body)),
  );
}

const COMPRESSORS = [
  ['gzip', gzipSync],
  ['GZIP', gzipSync],
  ['x-gzip', gzipSync],
  ['deflate', deflateSync],
  ['deflate', deflateRawSync],
  ['br', brotliCompressSync],
  ['identity', (body: Buffer) => body],
] as const;

test.each(COMPRESSORS)('an answer that a box in between compressed as %s is read', async (encoding, compress) => {
  const client = await answering(encoding, compress(SPACES(65_536)));
  expect((await client.fetchToken(APP, 'classic', never())).value).toBe(TOKEN);
  const refused = await answering(encoding, compress(Buffer.from('{"errcode":43101,"errmsg":"no"}')));
  const error = await failureOf(refused.send(deliveryOf(CHANNELS.subscribe), TOKEN, never()));
  expect(error).toMatchObject({ reason: 'CONSENT_MISSING', effect: 'refused' });
});

test.each(COMPRESSORS.slice(0, -1))('a bomb of %s is not inflated beyond 64 KiB', async (encoding, compress) => {
  for (const bytes of [65_537, 16 << 20]) {
    const client = await answering(encoding, compress(SPACES(bytes)));
    const error = await failureOf(client.fetchToken(APP, 'classic', never()));
    expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
    expect(error.message).toContain('more than 64 KiB');
  }
});

test.each([
  ['bytes that are cut', 'gzip', gzipSync(GRANTED).subarray(0, -9), /cannot be inflated whole/],
  ['bytes that are none', 'br', Buffer.from(GRANTED), /cannot be inflated whole/],
  ['one byte', 'deflate', Buffer.from('x'), /cannot be inflated whole/],
  ['an encoding of an encoding', 'gzip, gzip', gzipSync(gzipSync(GRANTED)), /none of gzip, deflate and br/],
  ['an encoding of another name', 'toString', Buffer.from(GRANTED), /none of gzip, deflate and br/],
])('%s: nobody knows what it was', async (_, encoding, body, words) => {
  const client = await answering(encoding, body);
  const error = await failureOf(client.fetchToken(APP, 'classic', never()));
  expect(error).toMatchObject({ reason: 'UPSTREAM_MALFORMED', effect: 'unknown' });
  expect(error.message).toMatch(words);
});

test('an empty body under a content-encoding is an empty body', async () => {
  const error = await failureOf((await answering('gzip', Buffer.alloc(0))).fetchToken(APP, 'classic', never()));
  expect(error.message).toContain('empty body');
});
