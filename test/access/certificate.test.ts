import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Certificates } from '../../src/access/certificate.ts';
import { type Issued, issue, signedOtherwise } from '../support/certificates.ts';

const DAY_MS = 86_400_000;
const PAY = 'spiffe://prod.example/pay';
const ca = issue({ name: 'ca', isCa: true });
const between = issue({ name: 'between', isCa: true, by: ca });
const other = issue({ name: 'other', isCa: true });
const server = issue({ name: 'server', by: ca, names: ['dns:localhost'] });
const now = Date.now();

let listener: Server;
const open: TLSSocket[] = [];
beforeAll(async () => {
  listener = createServer({
    cert: server.cert,
    key: server.key,
    ca: ca.cert,
    requestCert: true,
    rejectUnauthorized: false,
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  for (const socket of open) socket.destroy();
  listener.close();
});

/** The server's end of a connection whose client presents a certificate, or none. */
async function connected(pair?: Issued): Promise<TLSSocket> {
  const { port } = listener.address() as AddressInfo;
  const accepted = once(listener, 'secureConnection') as Promise<[TLSSocket]>;
  const client = connect({ host: '127.0.0.1', port, ca: ca.cert, servername: 'localhost', ...pair });
  client.on('error', () => undefined);
  const [socket] = await accepted;
  socket.on('error', () => undefined);
  open.push(client, socket);
  return socket;
}

const leaf = (options: Parameters<typeof issue>[0] = {}) =>
  issue({ by: ca, usage: 'client', names: [`uri:${PAY}`], ...options });

describe('who is at the other end', () => {
  it('is said by a certificate of an authority, until it expires', async () => {
    const notAfter = Math.floor(now / 1000) * 1000 + DAY_MS;
    const socket = await connected(leaf({ notAfter }));
    const certificates = new Certificates();
    const principal = certificates.identify(socket, now);
    expect(principal).toEqual({
      name: PAY,
      method: 'certificate',
      credentialId: expect.stringMatching(/^[0-9a-f]{12}$/),
      expireTime: notAfter,
    });
    expect(certificates.identify(socket, notAfter - 1)).toBe(principal);
    const over = { message: 'the certificate has expired', owner: principal };
    expect(() => certificates.identify(socket, notAfter)).toThrow(expect.objectContaining(over));
    expect(principal && certificates.fault(principal, notAfter - 1)).toBeUndefined();
    expect(principal && certificates.fault(principal, notAfter)).toBe('expired');
  });

  it('has one id, however the signature of its certificate is written', async () => {
    const pair = leaf();
    const other = signedOtherwise(pair);
    expect(other.cert).not.toBe(pair.cert);
    const certificates = new Certificates();
    const ids = [];
    for (const one of [pair, other, leaf()]) ids.push(certificates.identify(await connected(one), now)?.credentialId);
    expect(ids[1]).toBe(ids[0]);
    expect(ids[2]).not.toBe(ids[0]);
  });

  it('is read from a connection once', async () => {
    const socket = await connected(leaf());
    const certificates = new Certificates();
    let read = 0;
    const counting = {
      authorized: socket.authorized,
      getPeerX509Certificate: () => {
        read++;
        return socket.getPeerX509Certificate();
      },
    };
    for (let i = 0; i < 3; i++) expect(certificates.identify(counting, now)?.name).toBe(PAY);
    expect(read).toBe(1);
  });

  it('is nobody without a certificate', async () => {
    const socket = await connected();
    const certificates = new Certificates();
    expect(certificates.isPresented(socket)).toBe(false);
    expect(certificates.identify(socket, now)).toBeUndefined();
  });

  it.each([
    ['of another authority', leaf({ by: other }), 'no authority that is trusted'],
    ['that signed itself', issue({ names: [`uri:${PAY}`] }), 'no authority that is trusted'],
    ['that has expired', leaf({ notAfter: now - DAY_MS / 2 }), 'no authority that is trusted'],
    ['that is not valid yet', leaf({ notBefore: now + DAY_MS }), 'no authority that is trusted'],
    ['that is for servers', leaf({ usage: 'server' }), 'no authority that is trusted'],
    ['of an authority in between that is not sent', leaf({ by: between }), 'no authority that is trusted'],
    ['without a name', leaf({ names: [], name: 'pay' }), 'no name that is an identity'],
    ['with two URIs', leaf({ names: [`uri:${PAY}`, `uri:${PAY}`] }), 'no name that is an identity'],
    ['with a name that looks like two', leaf({ names: [`dns:a.b, URI:${PAY}`] }), 'no name that is an identity'],
    ['of an authority with a SPIFFE ID', leaf({ isCa: true }), 'of an authority, and not of a workload'],
  ])('is not said by a certificate %s, which is presented all the same', async (_, pair, cause) => {
    const socket = await connected(pair);
    const certificates = new Certificates();
    expect(certificates.isPresented(socket)).toBe(true);
    for (let i = 0; i < 2; i++) expect(() => certificates.identify(socket, now)).toThrow(cause);
  });

  it('is said by one of an authority in between that is sent with it', async () => {
    const pair = leaf({ by: between });
    const socket = await connected({ cert: pair.cert + between.cert, key: pair.key });
    const certificates = new Certificates();
    expect(certificates.identify(socket, now)?.name).toBe(PAY);
  });

  it('is said by a certificate no more once the connection does not vouch for it, while it stays open', async () => {
    const socket = await connected(leaf());
    const certificates = new Certificates();
    const principal = certificates.identify(socket, now);
    socket.authorized = false;
    expect(() => certificates.identify(socket, now)).toThrow('its authority is no longer trusted');
    expect(principal && certificates.fault(principal, now)).toBe('invalid');
  });

  it('is not believed before its time by the clock that is given', async () => {
    const socket = await connected(leaf());
    expect(() => new Certificates().identify(socket, now - 2 * DAY_MS)).toThrow('not valid yet');
  });

  it('fault knows nobody whom it did not identify', () => {
    const stranger = { name: PAY, method: 'certificate', credentialId: 'x', expireTime: null } as const;
    expect(new Certificates().fault(stranger, now)).toBe('invalid');
  });
});
