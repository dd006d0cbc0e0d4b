import { createHash } from 'node:crypto';
import { describe, expect, it, test } from 'vitest';
import { jsapiText, MAX_URL_LENGTH, urlFault } from '../../../src/core/tickets/jsapi-signature.ts';

/** Public ones: WeChat's example, the one that its page had before, which SDKs' own tests still use, and that of a small service. */
const VECTORS = [
  {
    ticket: 'sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg',
    nonce: 'Wm3WZYTPz0wzccnW',
    timestamp: 1_414_587_457,
    url: 'http://mp.weixin.qq.com?params=value',
    signature: '0f9de62fce790f9a083d5c99e95740ceb90c27ed',
  },
  {
    ticket: 'sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg',
    nonce: 'Wm3WZYTPz0wzccnW',
    timestamp: 1_414_587_457,
    url: 'http://mp.weixin.qq.com',
    signature: 'f4d90daf4b3bca3078ab155816175ba34c443a7b',
  },
  {
    ticket: 'sM4AOVdWfPE4DxkXGEs8VMyrPTaDyfEkWUdfl5NOd96S2DU4MBdvdvSfkAvlF3Lv3BreWffhmjkmGCLpyHKwFQ',
    nonce: 'hnsde8qnoqsvpld',
    timestamp: 1_431_415_715,
    url: 'http://www.mt5225.cc',
    signature: 'ec0cffe3ddbac350d75c0451c23042ea0af140f0',
  },
];

describe('the signature of a page', () => {
  it.each(VECTORS)('of $url is $signature, with and without a fragment', ({ signature, ...signed }) => {
    const sha1 = (text: string) => createHash('sha1').update(text).digest('hex');
    expect(sha1(jsapiText(signed))).toBe(signature);
    expect(sha1(jsapiText({ ...signed, url: `${signed.url}#/route?a=b#c` }))).toBe(signature);
  });
});

describe('a URL to be signed', () => {
  test.each([
    'http://a',
    'https://a.example:8443/b%E4%BB%A4?c=d&e[]=f#/g',
    `https://a.example/${'x'.repeat(MAX_URL_LENGTH - 18)}`,
  ])('%s', (url) => expect(urlFault(url)).toBeUndefined());

  test.each([
    ['', /is required/],
    [`https://a.example/${'x'.repeat(MAX_URL_LENGTH - 17)}`, /at most 4096 characters, has 4097/],
    ['a.example/b', /must begin with http/],
    ['HTTP://a.example', /must begin with http/],
    ['https://', /and a host/],
    ['https:///a', /and a host/],
    ['weixin://a', /must begin with http/],
    ['https://a.example/令', /percent-encoded/],
    ['https://a.example/b c', /percent-encoded/],
    ['https://a.example/b\n', /percent-encoded/],
  ])('not %j', (url, fault) => expect(urlFault(url)).toMatch(fault));
});
