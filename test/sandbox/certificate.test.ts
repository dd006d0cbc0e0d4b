import { X509Certificate } from 'node:crypto';
import { get } from 'node:https';
import { expect, it, onTestFinished } from 'vitest';
import { makeCertificate } from '../../src/sandbox/certificate.ts';
import { startSandbox } from '../../src/sandbox/server.ts';
import { FakeClock } from '../support/clock.ts';
import { appId, secret, seeded } from './support.ts';

const NAMES = ['api.weixin.qq.com', 'localhost', '127.0.0.1', '::1', '2001:db8::a:1'];

/** Asks as a client that trusts this authority alone, for this name, and says what came or why nothing did. */
function ask(port: number, ca: string | undefined, servername: string): Promise<string> {
  return new Promise((resolve) => {
    const path = `/cgi-bin/token?grant_type=client_credential&appid=${appId}&secret=${encodeURIComponent(secret)}`;
    const options = { host: '127.0.0.1', port, path, agent: false, ...(ca && { ca }), servername };
    get(options, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => {
        text += piece;
      });
      response.on('end', () => resolve(text.includes('"access_token"') ? 'a token' : text));
    }).on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

it('a certificate is good for its names alone, under its own authority', async () => {
  const { cert, key, ca } = makeCertificate(NAMES, Date.now());
  const listen = { host: '127.0.0.1', port: 0 };
  const sandbox = await startSandbox({
    listen,
    clock: new FakeClock(),
    random: seeded(),
    apps: [{ appId, secret }],
    tls: { cert, key },
  });
  onTestFinished(() => sandbox.close());
  expect(sandbox.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  const port = Number(new URL(sandbox.url).port);
  expect(await ask(port, ca, 'api.weixin.qq.com')).toBe('a token');
  expect(await ask(port, ca, 'localhost')).toBe('a token');
  expect(await ask(port, ca, 'example.com')).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
  expect(await ask(port, undefined, 'localhost')).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
  const other = makeCertificate(NAMES, Date.now());
  expect(await ask(port, other.ca, 'localhost')).toMatch(/SIGNATURE|CERT/);
});

it('has what clients look for, and lasts from yesterday for 13 months', () => {
  const now = Date.UTC(2026, 0, 31, 12);
  const { cert, ca } = makeCertificate(NAMES, now);
  const [leaf, authority] = [new X509Certificate(cert), new X509Certificate(ca)];
  expect([leaf.ca, authority.ca]).toEqual([false, true]);
  expect(leaf.checkIssued(authority)).toBe(true);
  expect([leaf.verify(authority.publicKey), authority.verify(authority.publicKey)]).toEqual([true, true]);
  for (const name of ['127.0.0.1', '::1', '2001:db8::a:1']) expect(leaf.checkIP(name)).toBeTruthy();
  expect(leaf.checkIP('127.0.0.2')).toBeUndefined();
  expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect([leaf.validFromDate, leaf.validToDate].map((date) => date.getTime() - now)).toEqual([
    -86_400_000,
    397 * 86_400_000,
  ]);
  expect(leaf.serialNumber).not.toBe(authority.serialNumber);
});

it('names its key and its authority’s, without which strict clients refuse it', () => {
  const { cert, ca } = makeCertificate(NAMES, Date.now());
  const keyIds = [cert, ca].map((pem) => {
    const der = new X509Certificate(pem).raw.toString('hex');
    // The extensions' ids, with the octet string of 20 bytes that each ends in.
    const [, own = ''] = /0603551d0e04160414([\da-f]{40})/.exec(der) ?? [];
    const [, issuer = ''] = /0603551d23041830168014([\da-f]{40})/.exec(der) ?? [];
    return { own, issuer };
  });
  expect(keyIds).toEqual([
    { own: expect.stringMatching(/./), issuer: keyIds[1]?.own },
    { own: expect.stringMatching(/./), issuer: '' },
  ]);
});
