import { expect, it } from 'vitest';
import { certificateBlocks } from '../../../src/core/kernel/pem.ts';

const block = (text: string, label = 'CERTIFICATE') => `-----BEGIN ${label}-----\n${text}\n-----END ${label}-----`;
const [a, b, key] = [block('AA'), block('BB'), block('KK', 'PRIVATE KEY')];

it.each([
  ['certificates in their order', `${a}\n${b}\n`, [a, b], false],
  ['what stands around them is passed over', `# ours\r\n${key}${a}\nmore\n${key}\n`, [a], false],
  ['the last one has no end', `${a}\n${b.slice(0, -5)}`, [a], true],
  ['there is none', key, [], false],
])('%s', (_, text, blocks, isCut) => {
  expect(certificateBlocks(text)).toEqual({ blocks, isCut });
});
