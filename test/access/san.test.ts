import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { sanOf } from '../../src/access/san.ts';
import { type CertificateOptions, issue } from '../support/certificates.ts';

function nameOf(names: NonNullable<CertificateOptions['names']>, options: CertificateOptions = {}): string | undefined {
  return sanOf(new X509Certificate(issue({ ...options, names }).cert).raw);
}

const PAY = 'spiffe://prod.example/ns/pay/sa/api';

describe('the name of a certificate', () => {
  it.each<[string, NonNullable<CertificateOptions['names']>, string | undefined]>([
    ['one SPIFFE ID', [`uri:${PAY}`], PAY],
    ['one beside DNS names and addresses', ['dns:a.b', 'ip:10.0.0.1', `uri:${PAY}`], PAY],
    ['two URIs', [`uri:${PAY}`, 'uri:spiffe://prod.example/b'], undefined],
    ['the same URI twice', [`uri:${PAY}`, `uri:${PAY}`], undefined],
    ['a URI of another kind beside a SPIFFE ID', ['uri:https://x', `uri:${PAY}`], undefined],
    ['a URI of another kind beside a DNS name', ['uri:https://x', 'dns:a.b'], undefined],
    ['a DNS name', ['dns:Api.Example'], 'dns:api.example'],
    ['two DNS names: the first', ['dns:a.b', 'dns:c.d'], 'dns:a.b'],
    ['an address', ['ip:10.0.0.1'], undefined],
    ['no name', [], undefined],
    ['a DNS name that looks like two names', [`dns:a.b, URI:${PAY}`], undefined],
    ['a DNS name with a quote', [`dns:a.b", URI:${PAY}`], undefined],
    ['a DNS name that looks like a line more', [`dns:a.b\nURI:${PAY}`], undefined],
    ['a DNS name with a NUL', ['dns:a.b\0.evil.example'], undefined],
    ['a DNS name with a star', ['dns:*.example'], undefined],
    ['a DNS name beyond ASCII', ['dns:ä.b'], undefined],
    ['an empty DNS name', ['dns:'], undefined],
    ['a DNS name with an empty label', ['dns:a..b'], undefined],
    ['a DNS name that is too long', [`dns:${'a'.repeat(64)}.b`], undefined],
    ['a URI that looks like two', [`uri:${PAY}, URI:spiffe://x/y`], undefined],
    ['a URI with a NUL', [`uri:${PAY}\0`], undefined],
    ['a URI with a line feed at its end', [`uri:${PAY}\n`], undefined],
    ['a trust domain alone', ['uri:spiffe://prod.example'], undefined],
    ['an empty path', ['uri:spiffe://prod.example/'], undefined],
    ['an empty segment', ['uri:spiffe://prod.example/a//b'], undefined],
    ['a slash at the end', ['uri:spiffe://prod.example/a/'], undefined],
    ['a dot segment', ['uri:spiffe://prod.example/a/../b'], undefined],
    ['a dot segment at the end', ['uri:spiffe://prod.example/a/..'], undefined],
    ['dots in a segment', ['uri:spiffe://prod.example/..a/b..'], 'spiffe://prod.example/..a/b..'],
    ['a star', ['uri:spiffe://prod.example/*'], undefined],
    ['an encoded character', ['uri:spiffe://prod.example/%61'], undefined],
    ['a query', [`uri:${PAY}?a`], undefined],
    ['a port', ['uri:spiffe://prod.example:1/a'], undefined],
    ['a user', ['uri:spiffe://u@prod.example/a'], undefined],
    ['another case of the scheme', ['uri:SPIFFE://prod.example/a'], undefined],
    ['another case of the trust domain', ['uri:spiffe://Prod.example/a'], undefined],
    ['a URI that is too long', [`uri:spiffe://prod.example/${'a'.repeat(2048)}`], undefined],
    ['more names than are looked through', [...Array(100).fill('dns:a.b'), `uri:${PAY}`], undefined],
  ])('%s', (_, names, expected) => {
    expect(nameOf(names)).toBe(expected);
  });

  it('is never the common name', () => {
    expect(nameOf([], { name: 'a.b' })).toBeUndefined();
    expect(nameOf([], { name: PAY })).toBeUndefined();
  });

  it('is none where the extension stands there twice', () => {
    expect(nameOf([`uri:${PAY}`], { repeatNames: 2 })).toBeUndefined();
  });

  it('of bytes that are cut or changed is either the same or none, and found in time', () => {
    const der = new X509Certificate(issue({ names: [`uri:${PAY}`] }).cert).raw;
    for (let length = 0; length < der.length; length++)
      expect(sanOf(Buffer.from(der.subarray(0, length)))).toBeUndefined();
    for (let at = 0; at < der.length; at++) {
      for (const byte of [0x00, 0x1f, 0x30, 0x7f, 0x80, 0x82, 0x84, 0xff]) {
        const changed = Buffer.from(der);
        changed[at] = byte;
        const name = sanOf(changed);
        if (name !== undefined) expect(name).toMatch(/^(spiffe:\/\/|dns:)/);
      }
    }
  });
});
